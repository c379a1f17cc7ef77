"""Where every field of a text stands: one light pass over its tokens, since protobuf keeps no positions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

FieldPath = tuple[str | int, ...]
"""Field names, each followed by its index: ``("layer", 3, "convolution_param", 0, "pad", 1)``."""

Position = tuple[int, int]
"""Line and column, both from 1."""

Octals = dict[FieldPath, tuple[str, int]]
"""For each field (without its last index) that has one, its first number with a needless 0 in front, and its offset."""

# What is most common is one token, since the time goes by the number of tokens.
_WORD = r"""[^\s{}<>:\[\],;\#"']+"""
STRING = r""""[^"\\\n]*(?:\\.[^"\\\n]*)*"|'[^'\\\n]*(?:\\.[^'\\\n]*)*'"""
"""A string with its quotes, in one line; what lies between two backslashes is taken at once, which saves memory."""

_TOKEN = re.compile(
    rf"""\s*(?:
     (?P<scalar>({_WORD})\s*:\s*(?:({_WORD})|{STRING}))
    |(?P<message>({_WORD})\s*(?::\s*)?[{{<])
    |(?P<close>[}}>])
    |(?P<comment>\#[^\n]*)
    |(?P<list>\[[^\[\]{{}}<>:;\#"']*\])
    |(?P<string>{STRING})
    |(?P<open>[{{<])|(?P<mark>[:\[\],;])
    |(?P<word>{_WORD})
    |(?P<unclosed>.)|\Z)""",
    re.VERBOSE,
)
_SCALAR_NAME, _SCALAR_VALUE, _MESSAGE_NAME = 2, 3, 5
"""The groups of `_TOKEN` that have no name: within a verbose pattern a group's number is that of its bracket."""

_ELEMENT = re.compile(_WORD)

_SUSPECT = re.compile(r"nan|inf|e\+?\d\d|0(?<![\w.]0)\d", re.IGNORECASE)
_LEADING_ZERO = re.compile(r"-?0\d")
_LONG_NUMBER = 30

_DEEPEST = 100
"""Caffe's parser, too, follows messages inside messages no further."""

_LARGEST_FLOAT = 3.4028235e38


class TextError(ValueError):
    """The tokens of a text do not fit together."""

    def __init__(self, reason: str, position: Position) -> None:
        super().__init__(reason)
        self.reason, self.position = reason, position


class Positions(Mapping[FieldPath, Position]):
    """The position of every field's name (in a list: of its value). Kept as offsets in one list for each repeated
    field, since a text may hold a million numbers."""

    def __init__(self, text: str, offsets: dict[FieldPath, list[int]], octals: Octals) -> None:
        self._text, self._offsets = text, offsets
        self.octals = octals

    def __getitem__(self, path: FieldPath) -> Position:
        offsets, index = self._offsets[path[:-1]], path[-1]
        if not isinstance(index, int) or index >= len(offsets):
            raise KeyError(path)
        return position_at(self._text, offsets[index])

    def __iter__(self) -> Iterator[FieldPath]:
        return ((*field, index) for field, offsets in self._offsets.items() for index in range(len(offsets)))

    def __len__(self) -> int:
        return sum(map(len, self._offsets.values()))


def position_at(text: str, offset: int) -> Position:
    """The line and column of an offset in a text."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


class _Reader:
    """The state of one pass: the open messages, the field being read, and what was found so far."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.found: dict[FieldPath, list[int]] = {}
        self.open: list[tuple[FieldPath, FieldPath, list[int], int, bool]] = []
        self.parent: FieldPath = ()
        self.name: FieldPath = ()
        self.offsets: list[int] = []
        self.in_value = self.in_list = self.first = False
        self.octals: Octals = {}
        # Hardly any text needs its numbers looked at one by one.
        self.suspects = _SUSPECT.search(text) is not None

    def error(self, reason: str, offset: int) -> TextError:
        return TextError(reason, position_at(self.text, offset))

    def unclosed(self, offset: int) -> TextError:
        """The error at a quote without a partner in its line."""
        before = self.text[self.text.rfind("\n", 0, offset) + 1 : offset]
        guilty = "this string, or one before it in the line," if {'"', "'"} & set(before) else "this string"
        return self.error(f"{guilty} has no closing quote", offset)

    def field(self, name: str, offset: int) -> None:
        """A field's name was read; its value or its message comes next."""
        self.name = (*self.parent, name)
        self.offsets = self.found.setdefault(self.name, [])
        self.offsets.append(offset)

    def value(self, word: str, offset: int) -> None:
        """A value was read, of the field or of its list."""
        if (self.suspects or len(word) > _LONG_NUMBER) and not _is_finite(word):
            raise self.error(f"{word} is not a number that a net or solver can use", offset)
        if self.suspects and _LEADING_ZERO.match(word):
            self.octals.setdefault(self.name, (word, offset))
        if self.in_list:
            self.element(offset)
        else:
            self.in_value = False

    def element(self, offset: int) -> None:
        """Something stands in a list; the first takes the place of the field's name."""
        if self.first:
            self.offsets[-1:] = [offset]
        else:
            self.offsets.append(offset)
        self.first = False

    def mark(self, mark: str) -> None:
        if mark == ":":
            self.in_value = True
        elif mark == "[" and self.in_value:
            self.in_list = self.first = True
        elif mark == "]":
            self.in_value = self.in_list = False

    def whole_list(self, start: int, end: int) -> None:
        """A list of nothing but words and numbers was read, at once since it may be long."""
        self.mark("[")
        if self.in_list:
            for match in _ELEMENT.finditer(self.text, start, end):
                self.value(match[0], match.start())
        self.mark("]")

    def enter(self, offset: int) -> None:
        if len(self.open) == _DEEPEST:
            raise self.error(f"messages are nested more than {_DEEPEST} deep", offset)
        if self.in_list:
            self.element(offset)
        self.open.append((self.parent, self.name, self.offsets, offset, self.in_list))
        self.parent = (*self.name, len(self.offsets) - 1)
        self.in_value = self.in_list = False

    def leave(self, offset: int) -> None:
        if not self.open:
            raise self.error('this "}" closes nothing', offset)
        self.parent, self.name, self.offsets, _, self.in_list = self.open.pop()
        self.first = False


def _is_finite(word: str) -> bool:
    """Whether a value is anything but nan, an infinity, or a number that a 32-bit float holds as one."""
    for number in (word, word.removesuffix("f")):  # 0.5f is a number too
        try:
            return abs(float(number)) <= _LARGEST_FLOAT
        except ValueError:
            continue
    return True


def locate(text: str) -> Positions:
    """Map the path of every field in a text to the position of its name (in a list: of its value).

    Raises TextError for a brace or a string that is never closed, a brace that closes nothing, and for nan and inf.
    """
    reader = _Reader(text)
    for match in _TOKEN.finditer(text):
        _take(reader, match)
    if reader.open:
        _, path, _, offset, _ = reader.open[-1]
        raise reader.error(f'the "{{" of "{path[-1] if path else ""}" is never closed', offset)
    return Positions(text, reader.found, reader.octals)


def _take(reader: _Reader, match: re.Match[str]) -> None:
    kind = match.lastgroup
    if kind == "scalar":
        reader.in_list = False
        reader.field(match[_SCALAR_NAME], match.start(_SCALAR_NAME))
        reader.value(match[_SCALAR_VALUE] or "", match.start(_SCALAR_VALUE))
    elif kind == "message":
        reader.field(match[_MESSAGE_NAME], match.start(_MESSAGE_NAME))
        reader.enter(match.end() - 1)
    elif kind == "close":
        reader.leave(match.end() - 1)
    elif kind == "list":
        reader.whole_list(match.start(kind), match.end())
    elif kind == "open":
        reader.enter(match.end() - 1)
    elif kind == "mark":
        reader.mark(match[kind])
    elif kind in ("word", "string") and reader.in_value:
        reader.value(match[kind] if kind == "word" else "", match.start(kind))
    elif kind == "word":
        reader.field(match[kind], match.start(kind))
    elif kind == "unclosed":
        raise reader.unclosed(match.start(kind))
