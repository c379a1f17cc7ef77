"""Reads a text that may hold mistakes: all of them are told, and what is left of it is a message."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf.message import Message

from netspec.errors import SpecError
from netspec.positions import FieldPath, Position, TextError, locate, position_at
from netspec.schema.netspec_pb2 import NetParameter, SolverParameter
from netspec.spec import Document, parse, read
from netspec.templates import fill

M = TypeVar("M", bound=Message)

_MOST_ERRORS = 1000
_NO_FIELDS = re.compile(r"""^(?:a field's name|"\W".*) is expected|closing quote""")
"""What is said of a text that cannot be taken apart into fields."""

_FIRST_WORD = re.compile(r"(?:\s|\#[^\n]*)*(?P<word>\w+|[^\w\s#}]\S*)\s*(?P<mark>[:{<\[]?)")
_OUTERMOST = {*NetParameter.DESCRIPTOR.fields_by_name, *SolverParameter.DESCRIPTOR.fields_by_name}

_PIECE = re.compile(
    r"""\#[^\n]*|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|[{}<>\[\]:]|[^\s{}<>\[\]:,;\#"']+|.""", re.DOTALL
)


def has_variables(path: Path) -> bool:
    """Whether a text has variables such as ${NUM_LABELS}."""
    try:
        fill(path.read_text(encoding="utf-8", errors="replace"), {}, str(path))
    except SpecError:
        return True
    except OSError:
        return False
    return False


def read_all(path: Path, kind: type[M], define: Mapping[str, str]) -> tuple[Document[M] | None, list[SpecError]]:
    """The document of a text without its wrong fields, and an error for each of these. None where the text cannot be
    taken apart: then the one error says why."""
    try:
        return read(path, kind, define), []
    except SpecError as error:
        first = error
    try:
        text = path.read_bytes().decode("utf-8-sig")
        _refuse_prose(text, str(path))
        text = fill(text, define, str(path))
        unknown = _unknown_fields(text, kind)
    except SpecError as error:
        return None, [error]
    except (OSError, UnicodeDecodeError, TextError):
        return None, [first]
    return _parse_past(first, text, kind, str(path), unknown)


def _refuse_prose(text: str, path: str) -> None:
    """SpecError where a text cannot be meant as one of fields: it begins with a word that is no field's name, nor has
    after it what a field has."""
    found = _FIRST_WORD.match(text)
    if found and not found["mark"] and (word := found["word"]) not in _OUTERMOST:
        reason = f'this is neither a net nor a solver: it begins with "{word}", not with a field'
        raise SpecError(reason, path, text, position_at(text, found.start("word")))


def _parse_past(
    first: SpecError, text: str, kind: type[M], path: str, unknown: Mapping[Position, tuple[Position, ...]]
) -> tuple[Document[M] | None, list[SpecError]]:
    """Parse a text without one wrong field after the other, until what is left can be parsed; unknown fields of one
    name are left out together. None where the text is not made of fields."""
    starts = sorted(locate(text).values())
    rest, error, errors = text, first, list[SpecError]()
    while len(errors) < _MOST_ERRORS:
        place = (error.line, error.column)
        places = unknown.get(place, (place,))
        errors += [SpecError(error.reason, path, text, each, error.hint) for each in places]
        if _NO_FIELDS.search(error.reason) or not starts:
            break
        shorter = rest
        for each in places:
            shorter = _blanked(shorter, starts[max(bisect_right(starts, each) - 1, 0)])
        if shorter == rest:
            break
        rest = shorter
        try:
            return replace(parse(rest, kind, path), text=text), errors
        except SpecError as next_error:
            error = next_error
    return None, errors


def _unknown_fields(text: str, kind: type[Message]) -> dict[Position, tuple[Position, ...]]:
    """The position of every field that its message does not have, with those of the same name in such messages; none
    for what is inside of one."""
    kinds: dict[FieldPath, Any] = {(): kind.DESCRIPTOR}  # each a Descriptor: protobuf's stubs know two of them
    groups: dict[tuple[str, str], list[Position]] = {}
    for path, position in sorted(locate(text).items(), key=lambda item: len(item[0])):
        names, holder, name = path[::2], kinds.get(path[:-2:2]), str(path[-2])
        if holder is None:
            continue
        if name in holder.fields_by_name:
            kinds[names] = holder.fields_by_name[name].message_type
        else:
            groups.setdefault((holder.full_name, name), []).append(position)
    return {position: tuple(group) for group in groups.values() for position in group}


def _blanked(text: str, position: Position) -> str:
    """A text with spaces in place of the field that begins at a position."""
    line, column = position
    start = sum(len(above) + 1 for above in text.split("\n")[: line - 1]) + column - 1
    end = _end_of_field(text, start)
    return text[:start] + re.sub(r"[^\n]", " ", text[start:end]) + text[end:]


def _end_of_field(text: str, start: int) -> int:
    """Where the value ends of the field whose name begins at `start`: a word, a string, a list or a message."""
    depth = words = 0
    for piece in _PIECE.finditer(text, start):
        token = piece[0]
        if token in ("{", "<", "["):
            depth += 1
        elif token in ("}", ">", "]"):
            depth -= 1
        elif token == ":" or token.isspace() or token.startswith("#"):
            continue
        words += 1
        if depth < 0:
            return piece.start()
        if depth == 0 and words > 1:
            return piece.end()
    return len(text)
