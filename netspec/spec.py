"""Reads and writes net and solver texts, and says where in a text a mistake stands."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from google.protobuf import text_format
from google.protobuf.message import Message

from netspec.errors import SpecError, nearest
from netspec.mistakes import check_escapes, check_lines, check_octals, readable
from netspec.positions import FieldPath, Position, Positions, TextError, locate
from netspec.templates import escaped, fill

M = TypeVar("M", bound=Message)
N = TypeVar("N", bound=Message)


@dataclass(frozen=True)
class Document(Generic[M]):
    """A message and the text that it was read from; `prefix` is where the message stands inside that text.

    `origins` says of the fields of a message in today's form where they stood in the text's older one; a field inside
    another moves with it. `settings` are the KEY=VALUE texts that were put over fields of the message, by field.
    """

    message: M
    text: str
    path: str
    prefix: FieldPath = field(default=())
    origins: Mapping[FieldPath, FieldPath] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def _positions(self) -> Positions:
        return locate(self.text)

    def error(self, reason: str, *where: str | int, known: Iterable[str] = (), wrong: str = "") -> SpecError:
        """A SpecError at the field `where` (names and indices), or at the nearest thing around it that was written.

        With `wrong` and `known`, the hint names the known name that is nearest to the wrong one.
        """
        hint = nearest(wrong, known) if wrong else ""
        if where and (setting := self.settings.get(str(where[0]))):
            return SpecError(reason, "--set", setting, hint=hint)
        return SpecError(reason, self.path, self.text, self.position(*where), hint)

    def position(self, *where: str | int) -> Position:
        """Line and column of the field `where`, or of the nearest field around it."""
        full = self.prefix + self._origin(_with_indices(where))
        around = (full[:end] for end in range(len(full), 0, -2))
        return next((self._positions[path] for path in around if path in self._positions), (1, 1))

    def _origin(self, where: FieldPath) -> FieldPath:
        """The path in the text of a field of the message."""
        for end in range(len(where), -1, -2):
            if where[:end] in self.origins:
                return self.origins[where[:end]] + where[end:]
        return where

    def find(self, name: str) -> Path:
        """The file or folder that a relative path of the text means: from the working directory as in Caffe, or from
        the text's own folder or one above it. Where nothing is there, the path from the working directory."""
        return next((place for place in self.places(name) if place.exists()), Path(name))

    def places(self, name: str) -> list[Path]:
        """The places where `find` looks, in order: not the root of the file system, where it is too easy to meet a
        stranger."""
        folders = list(Path(self.path).resolve().parents)[:-1] if Path(self.path).is_file() else []
        here = Path.cwd()
        short = (folder.relative_to(here) if folder.is_relative_to(here) else folder for folder in folders)
        return [Path(name), *(folder / name for folder in short)]

    def part(self, message: N, *where: str | int) -> Document[N]:
        """The document of a message that stands inside this one at `where`."""
        place = _with_indices(where)
        depth = len(place)
        inside = {new[depth:]: old[depth:] for new, old in self.origins.items() if new[:depth] == place}
        return Document(message, self.text, self.path, self.prefix + place, inside)


def _with_indices(where: FieldPath) -> FieldPath:
    """A path in which a field without its index means its first occurrence."""
    full: list[str | int] = []
    for part in where:
        if isinstance(part, str) and len(full) % 2:
            full.append(0)
        full.append(part)
    return (*full, 0) if len(full) % 2 else tuple(full)


def read(path: str | Path, kind: type[M], define: Mapping[str, str] | None = None) -> Document[M]:
    """Read a text file as a message of type `kind`; SpecError where it is missing, not text, or wrong. `define` holds
    the values of the text's variables."""
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
    return parse(text, kind, str(path), define)


def parse(text: str, kind: type[M], path: str = "<text>", define: Mapping[str, str] | None = None) -> Document[M]:
    """Parse a text as a message of type `kind`; SpecError where it is wrong."""
    check_lines(text, path)
    text = fill(text, define or {}, path)
    try:
        positions = locate(text)
    except TextError as error:
        raise SpecError(error.reason, path, text, error.position) from None
    check_escapes(text, path)
    check_octals(kind.DESCRIPTOR, positions.octals, text, path)
    message = kind()
    try:
        text_format.Parse(text, message)
    except text_format.ParseError as error:
        raise readable(error, text, path) from None
    document = Document(message, text, path)
    for missing in message.FindInitializationErrors():  # type: ignore[attr-defined]  # missing in the stubs
        where = [part if part.isidentifier() else int(part) for part in re.findall(r"\w+", missing)]
        raise document.error(f'the field "{where[-1]}" must be given', *where)
    return document


def document_of(
    source: str | Path | M | Document[M], kind: type[M], define: Mapping[str, str] | None = None
) -> Document[M]:
    """The document of whatever stands for a message: a path, a message (its own text is its source), a document."""
    if isinstance(source, Document):
        return source
    if isinstance(source, (str, Path)):
        return read(source, kind, define)
    return Document(source, to_text(source), f"<{kind.__name__}>")


def to_text(message: Message) -> str:
    """The text of a message, one field a line, as Caffe prints it; a "$" that would read as a variable is escaped."""
    return escaped(text_format.MessageToString(message, use_short_repeated_primitives=False))


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
        if isinstance(value, Message):
            _replace(getattr(message, field_type.name), value)
        else:
            message.ClearField(field_type.name)
            put(message, field_type.name, value)


def put(message: Message, name: str, value: Any) -> None:
    """Set a field: a message is copied in; to a repeated field, one value or several are added."""
    place = getattr(message, name)
    if isinstance(value, Message):
        place.CopyFrom(value)
    elif not _is_repeated(place):
        setattr(message, name, value)
    elif _is_repeated(value):
        place.extend(value)
    else:
        place.append(value)


def _is_repeated(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _quoted(target: Any, name: str, value: str) -> str:
    """The value as the text format wants it: a string may come without its quotes, several numbers without brackets."""
    value = value.strip()
    found = target.fields_by_name.get(name)
    if found is None or found.message_type or value[:1] in ('"', "'", "["):
        return value
    if found.type == found.TYPE_STRING:
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if "," not in value:
        return value
    if not _is_repeated(found.default_value):
        raise SpecError(f'"{name}" takes one value, not {value}', "--set", f"{name}={value}")
    return f"[{value}]"


def _why_unreadable(path: Path, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    return f"the file cannot be read: {error.strerror}"


def _nearest_file(path: Path) -> str:
    others = path.parent.iterdir() if path.parent.is_dir() else ()
    siblings = {other.name: str(path.parent / other.name) for other in others if other.is_file()}
    return nearest(path.name, siblings, siblings)
