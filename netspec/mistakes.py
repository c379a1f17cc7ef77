"""What protobuf refuses in a text, in the user's words and under the guilty one."""

from __future__ import annotations

import re
from typing import Any

from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from netspec import forks
from netspec.errors import SpecError
from netspec.positions import STRING, FieldPath, Octals, Position, position_at
from netspec.schema import netspec_pb2
from netspec.words import right_field, right_value

_STRING_OR_COMMENT = re.compile(rf"\#[^\n]*|(?P<string>{STRING})")
_ESCAPE = re.compile(r"""\\(?:[abfnrtv\\'"]|(?![4-7][0-7]{2})[0-7]{1,3}|x[0-9a-fA-F]{1,2}|(?P<unknown>.))""")

_FLOATS = (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE)
_LONGEST_LINE = 1_000_000

_CONFLICT = re.compile(r"^(?:<{7}|={7}|>{7})(?: |$)", re.MULTILINE)
_LINE_AND_COLUMN = re.compile(r"^\d+:\d+ : ")
_NO_FIELD = re.compile(r'Message type "([\w.]+)" has no field named "([^"]+)"')
_TWICE = re.compile(r'should not have multiple "([^"]+)" fields')
_NO_VALUE = re.compile(r'Enum type "([\w.]+)" has no value (?:named|with number) (.*?)\.?$')
_MOST_VALUES = 8

_WANTED = [
    (re.compile(r"Couldn't parse integer:"), "a whole number"),
    (re.compile(r"Couldn't parse float:"), "a number"),
    (re.compile(r"Expected string but found: (?P<quoted>.*)"), "a string in quotes"),
    (re.compile(r'Expected "true" or "false"'), "true or false"),
    (re.compile(r'Expected ","'), '"," or "]"'),
    (re.compile(r"Expected identifier|Message type .* does not have extensions"), "a field's name"),
    (re.compile(r'Expected (?P<mark>"[^"]+")'), ""),
]
"""Protobuf's sentence, and what stood to be expected there."""

_OTHERS = [
    (re.compile(r"Value out of range: (?P<found>-\d{1,9})$"), "{} is out of range: this field takes 0 and above"),
    (re.compile(r"Value out of range: (?P<found>\S+)"), "{} is out of this field's range"),
    (re.compile(r"Couldn't parse string: "), "this string is not UTF-8"),
]

_VALUELESS = re.compile(r"(\w+)\s*:\s*$")
_NO_VALUE_HERE = re.compile(r"\w+\s*[:{]|[}\]>]|$")
_NAME_LENGTH = 300
_OTHER_COMMENT = re.compile(r"//|/\*|%|--|;")


def check_lines(text: str, path: str) -> None:
    """SpecError at a mark that git leaves between two versions of a text, and at a line that is so long that protobuf
    would take gigabytes to look at it."""
    if conflict := _CONFLICT.search(text):
        reason = "two versions of the text stand here, between the marks of a merge conflict"
        raise SpecError(reason, path, text, position_at(text, conflict.start()))
    for number, line in enumerate(text.split("\n") if len(text) > _LONGEST_LINE else (), start=1):
        if len(line) > _LONGEST_LINE:
            reason = f"this line has {len(line):,} characters; at most {_LONGEST_LINE:,} are read"
            raise SpecError(reason, path, text, (number, 1))


def check_escapes(text: str, path: str) -> None:
    """SpecError at a backslash in a string that begins no escape, which protobuf would read in its own way."""
    for string in _STRING_OR_COMMENT.finditer(text) if "\\" in text else ():
        for escape in _ESCAPE.finditer(text, *string.span("string")) if string["string"] else ():
            if escape["unknown"]:
                reason = f'a string knows no "{escape[0]}": write "/" in a path, or "\\\\" for a backslash'
                raise SpecError(reason, path, text, position_at(text, escape.start()))


def check_octals(kind: Any, octals: Octals, text: str, path: str) -> None:
    """SpecError at a float with a needless 0 in front, in the text of a message of that kind: to Caffe an octal number,
    which no float may be; protobuf before 6.30 would read it as a decimal one."""
    for field, (word, offset) in octals.items():
        if _takes_floats(kind, field):
            raise SpecError(f"{word} is no number: it begins with 0", path, text, position_at(text, offset))


def _takes_floats(kind: Any, path: FieldPath) -> bool:
    """Whether a kind of message has a field of floats at the path."""
    field = None
    for name in path[::2]:
        field = kind.fields_by_name.get(name) if kind is not None else None
        kind = field.message_type if field is not None else None
    return field is not None and field.cpp_type in _FLOATS


def readable(error: text_format.ParseError, text: str, path: str) -> SpecError:
    """Protobuf's error as a SpecError: with the nearest known name, or the fork that has an unknown one."""
    line, column = error.GetLine() or 1, error.GetColumn() or 1
    lines = text.split("\n")
    shown = lines[line - 1] if line <= len(lines) else ""
    reason = _LINE_AND_COLUMN.sub("", str(error)).removeprefix(f"'{shown}': ").removeprefix("'': ").strip()
    offset = sum(map(len, lines[: line - 1])) + line - 1 + column - 1
    if match := _NO_FIELD.search(reason):
        return _no_field(_symbol(match[1]), match[2], path, text, (line, column))
    if match := _NO_VALUE.search(reason):
        return _no_value(match[1], match[2], path, text, (line, column))
    if match := _TWICE.search(reason):
        place = _last(rf"\b{match[1]}\b", text, offset)
        return SpecError(f'"{match[1]}" is given twice, but can stand only once', path, text, position_at(text, place))
    reason, offset = _reworded(reason, text, offset)
    hint = 'comments begin with "#"' if _OTHER_COMMENT.match(text, offset) else ""
    return SpecError(reason, path, text, position_at(text, offset), hint)


def _no_field(kind: Descriptor, name: str, path: str, text: str, position: Position) -> SpecError:
    fork = forks.of_field(kind.name, name)
    reason = f'{kind.name} has no field "{name[:60]}"{forks.origin(fork)}'
    return SpecError(reason, path, text, position, "" if fork else right_field(kind, name))


def _no_value(enum: str, value: str, path: str, text: str, position: Position) -> SpecError:
    values = netspec_pb2.DESCRIPTOR.pool.FindEnumTypeByName(enum).values_by_name
    known = f"none of {', '.join(values)}" if len(values) <= _MOST_VALUES else "no layer type of this old form"
    fork = forks.VALUES.get(value, "")
    if value[1:-1] in values:
        return SpecError(f"{value} must stand here without its quotes", path, text, position)
    reason = f"{value[:60]} is {known}{forks.origin(fork)}"
    return SpecError(reason, path, text, position, "" if fork else right_value(enum, value, values))


def _reworded(reason: str, text: str, offset: int) -> tuple[str, int]:
    """The sentence in the user's words, and where in the text the guilty word begins."""
    for pattern, sentence in _OTHERS:
        if match := pattern.match(reason):
            found = match.groupdict().get("found") or ""
            return sentence.format(found), _last(re.escape(found) or "[\"']", text, offset)
    for pattern, wanted in _WANTED:
        if match := pattern.match(reason):
            groups = match.groupdict()
            if quoted := groups.get("quoted"):
                offset = _last(re.escape(quoted[1:-1]), text, offset)
            field = _VALUELESS.search(text, max(0, offset - _NAME_LENGTH), offset)
            if field and _NO_VALUE_HERE.match(text, offset):
                return f'"{field[1]}" has no value: {wanted} is expected', field.start()
            word = _word(text, offset)
            instead = f", not {word}" if word else ""
            return f"{groups.get('mark') or wanted} is expected here{instead}", offset
    return reason, offset


def _word(text: str, offset: int) -> str:
    """What stands at a place, a mark in quotes; nothing at the end of the text."""
    found = re.compile(r""""[^"\n]*"?|'[^'\n]*'?|[\w.+-]+|(?P<mark>\S)""").match(text, offset)
    if found is None:
        return ""
    return f'"{found[0]}"' if found["mark"] else found[0]


def _last(pattern: str, text: str, offset: int) -> int:
    """Where a pattern stands at a place or, since protobuf may have read on, last before it."""
    searched = re.compile(pattern)
    if searched.match(text, offset):
        return offset
    line_before = text.rfind("\n", 0, max(text.rfind("\n", 0, offset), 0)) + 1
    return max((match.start() for match in searched.finditer(text, line_before, offset)), default=offset)


def _symbol(full_name: str) -> Descriptor:
    return netspec_pb2.DESCRIPTOR.pool.FindMessageTypeByName(full_name)
