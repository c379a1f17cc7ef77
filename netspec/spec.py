"""Reads and writes net and solver texts, and says where in a text a mistake stands."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, NoReturn, TypeVar

from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from netspec.errors import SpecError, nearest
from netspec.positions import FieldPath, Position, TextError, locate
from netspec.schema import netspec_pb2
from netspec.schema.netspec_pb2 import NetParameter, SolverParameter

M = TypeVar("M", bound=Message)
N = TypeVar("N", bound=Message)

_NO_FIELD = re.compile(r'Message type "([\w.]+)" has no field named "([^"]+)"')
_TWICE = re.compile(r'should not have multiple "([^"]+)" fields')
_NO_VALUE = re.compile(r'Enum type "([\w.]+)" has no value (?:named|with number) (\S+?)\.?$')
_LINE_AND_COLUMN = re.compile(r"^\d+:\d+ : ")


@dataclass(frozen=True)
class Document(Generic[M]):
    """A message and the text that it was read from; `prefix` is where the message stands inside that text."""

    message: M
    text: str
    path: str
    prefix: FieldPath = field(default=())

    @cached_property
    def _positions(self) -> dict[FieldPath, Position]:
        return locate(self.text)

    def error(self, reason: str, *where: str | int, known: Iterable[str] = (), wrong: str = "") -> SpecError:
        """A SpecError at the field `where` (names and indices), or at the nearest thing around it that was written.

        With `wrong` and `known`, the hint names the known name that is nearest to the wrong one.
        """
        hint = nearest(wrong, known) if wrong else ""
        return SpecError(reason, self.path, self.text, self.position(*where), hint)

    def position(self, *where: str | int) -> Position:
        """Line and column of the field `where`, or of the nearest field around it."""
        full = self.prefix + where
        for end in range(len(full), 0, -1):
            # A field without its index means its first occurrence.
            for candidate in (full[:end], (*full[:end], 0)):
                if candidate in self._positions:
                    return self._positions[candidate]
        return (1, 1)

    def find(self, name: str) -> Path:
        """The file or folder that a relative path of the text means: from the working directory as in Caffe, or from
        the text's own folder or one above it. Where nothing is there, the path from the working directory."""
        return next((place for place in self.places(name) if place.exists()), Path(name))

    def places(self, name: str) -> list[Path]:
        """The places where `find` looks, in order: not the root of the file system, where it is too easy to meet a
        stranger."""
        folders = list(Path(self.path).resolve().parents)[:-1] if Path(self.path).is_file() else []
        return [Path(name), *(folder / name for folder in folders)]

    def part(self, message: N, *where: str | int) -> Document[N]:
        """The document of a message that stands inside this one at `where`."""
        return Document(message, self.text, self.path, self.prefix + where)


def read(path: str | Path, kind: type[M]) -> Document[M]:
    """Read a text file as a message of type `kind`; SpecError where it is missing, not text, or wrong."""
    try:
        raw = Path(path).read_bytes().removeprefix(codecs.BOM_UTF8)
    except OSError as error:
        raise SpecError(_why_unreadable(Path(path), error), str(path), hint=_nearest_file(Path(path))) from None
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8")
        position = (before.count("\n") + 1, len(before) - before.rfind("\n"))
        raise SpecError("this is not a text file: byte that is not UTF-8", str(path), position=position) from None
    return parse(text, kind, str(path))


def parse(text: str, kind: type[M], path: str = "<text>") -> Document[M]:
    """Parse a text as a message of type `kind`; SpecError where it is wrong."""
    try:
        locate(text)
    except TextError as error:
        raise SpecError(error.reason, path, text, error.position) from None
    message = kind()
    try:
        text_format.Parse(text, message)
    except text_format.ParseError as error:
        _raise_readable(error, text, path)
    document = Document(message, text, path)
    for missing in message.FindInitializationErrors():  # type: ignore[attr-defined]  # missing in the stubs
        where = [part if part.isidentifier() else int(part) for part in re.findall(r"\w+", missing)]
        raise document.error(f'the field "{where[-1]}" must be given', *where)
    return document


def document_of(source: str | Path | M | Document[M], kind: type[M]) -> Document[M]:
    """The document of whatever stands for a message: a path, a message (its own text is its source), a document."""
    if isinstance(source, Document):
        return source
    if isinstance(source, (str, Path)):
        return read(source, kind)
    return Document(source, to_text(source), f"<{kind.__name__}>")


def read_net(path: str | Path) -> NetParameter:
    """Read a net file; SpecError with file, line and column where it is wrong."""
    return read(path, NetParameter).message


def parse_net(text: str) -> NetParameter:
    """Parse the text of a net; SpecError with line and column where it is wrong."""
    return parse(text, NetParameter).message


def read_solver(path: str | Path) -> SolverParameter:
    """Read a solver file; SpecError with file, line and column where it is wrong."""
    return read(path, SolverParameter).message


def parse_solver(text: str) -> SolverParameter:
    """Parse the text of a solver; SpecError with line and column where it is wrong."""
    return parse(text, SolverParameter).message


def to_text(message: Message) -> str:
    """The text of a message, one field a line, as Caffe prints it."""
    return text_format.MessageToString(message, use_short_repeated_primitives=False)


def set_field(message: Message, assignment: str) -> None:
    """Set one field of a message from ``key=value``, the value written as in a text; SpecError where it is wrong.

    A dot goes into a nested message (``train_state.level=1``); a repeated field is replaced (``test_iter=[10, 20]``).
    """
    key, equals, value = assignment.partition("=")
    if not equals:
        raise SpecError(f'"{assignment}" is not of the form key=value', "--set", assignment)
    names = key.strip().split(".")
    target = message.DESCRIPTOR
    for name in names[:-1]:
        inner = target.fields_by_name.get(name)
        if inner is None or inner.message_type is None:
            raise SpecError(f'"{name}" is no message inside {target.name}', "--set", assignment)
        target = inner.message_type
    text = " { ".join([*names[:-1], f"{names[-1]}: {_quoted(target, names[-1], value)}"]) + " }" * (len(names) - 1)
    change = parse(text, type(message), "--set").message
    if len(change.ListFields()) != 1:
        raise SpecError(f'"{assignment}" sets more than one field', "--set", assignment)
    _replace(message, change)


def _replace(message: Message, change: Message) -> None:
    """Put every field of `change` into `message`: repeated ones replaced, messages entered, values set."""
    for field_type, value in change.ListFields():
        if field_type.type == field_type.TYPE_MESSAGE and not _is_repeated(value):
            _replace(getattr(message, field_type.name), value)
            continue
        message.ClearField(field_type.name)
        if _is_repeated(value):
            getattr(message, field_type.name).extend(value)
        else:
            setattr(message, field_type.name, value)


def _is_repeated(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _quoted(target: Any, name: str, value: str) -> str:
    """The value as the text format wants it: a string may come without its quotes."""
    value = value.strip()
    found = target.fields_by_name.get(name)
    if found is not None and found.type == found.TYPE_STRING and value[:1] not in ('"', "'", "["):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return value


def _raise_readable(error: text_format.ParseError, text: str, path: str) -> NoReturn:
    """Turn protobuf's parse error into a SpecError: without the quoted line, with the nearest known name."""
    position = (error.GetLine() or 1, error.GetColumn() or 1)
    lines = text.split("\n")
    line = lines[position[0] - 1] if position[0] <= len(lines) else ""
    reason = _LINE_AND_COLUMN.sub("", str(error)).removeprefix(f"'{line}': ").removeprefix("'': ").strip()
    hint = ""
    if match := _NO_FIELD.search(reason):
        kind = _symbol(match[1])
        reason = f'{kind.name} has no field "{match[2][:60]}"'
        hint = nearest(match[2], kind.fields_by_name)
    elif match := _NO_VALUE.search(reason):
        values = netspec_pb2.DESCRIPTOR.pool.FindEnumTypeByName(match[1]).values_by_name
        reason = f"{match[2][:60]} is none of {', '.join(values)}" if len(values) <= 8 else f"no value {match[2][:60]}"
        hint = nearest(match[2], values)
    elif match := _TWICE.search(reason):
        reason = f'"{match[1]}" is given twice, but can stand only once'
    raise SpecError(reason, path, text, position, hint) from None


def _symbol(full_name: str) -> Descriptor:
    return netspec_pb2.DESCRIPTOR.pool.FindMessageTypeByName(full_name)


def _why_unreadable(path: Path, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    return f"the file cannot be read: {error.strerror}"


def _nearest_file(path: Path) -> str:
    siblings = [str(path.with_name(other.name)) for other in path.parent.iterdir()] if path.parent.is_dir() else []
    return nearest(str(path), siblings)
