"""Where every field of a text stands: one light pass over its tokens, since protobuf keeps no positions."""

from __future__ import annotations

import re

FieldPath = tuple[str | int, ...]
"""Field names, each followed by its index: ``("layer", 3, "convolution_param", 0, "pad", 1)``."""

Position = tuple[int, int]
"""Line and column, both from 1."""

_TOKEN = re.compile(
    r"""(?P<skip>\s+|\#[^\n]*)
    |(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    |(?P<open>[{<])|(?P<close>[}>])|(?P<mark>[:\[\],;])
    |(?P<word>[^\s{}<>:\[\],;\#"']+)
    |(?P<other>.)""",
    re.VERBOSE,
)


_DEEPEST = 100
"""Caffe's parser, too, follows messages inside messages no further."""

_LARGEST_FLOAT = 3.4028235e38


class TextError(ValueError):
    """The tokens of a text do not fit together."""

    def __init__(self, reason: str, position: Position) -> None:
        super().__init__(reason)
        self.reason, self.position = reason, position


class _Reader:
    """The state of one pass: the open messages, the field being read, and what was found so far."""

    def __init__(self) -> None:
        self.found: dict[FieldPath, Position] = {}
        self.open: list[tuple[FieldPath, Position, bool]] = []
        self.counts: dict[FieldPath, int] = {}
        self.name: FieldPath = ()
        self.in_value = self.in_list = False

    def field(self, name: str, position: Position) -> None:
        """A field's name was read; its value or its message comes next."""
        parent = self.open[-1][0] if self.open else ()
        key = (*parent, name)
        index = self.counts.get(key, 0)
        self.counts[key] = index + 1
        self.name = (*key, index)
        self.found[self.name] = position

    def next_in_list(self) -> None:
        """Another value of the same repeated field follows."""
        *key, index = self.name
        assert isinstance(index, int)
        self.counts[tuple(key)] = index + 2
        self.name = (*key, index + 1)

    def value(self, word: str, position: Position) -> None:
        if not _is_finite(word):
            raise TextError(f"{word} is not a number that a net or solver can use", position)
        if self.in_list:
            self.found[self.name] = position
        else:
            self.in_value = False

    def mark(self, mark: str) -> None:
        if mark == ":":
            self.in_value = True
        elif mark == "[":
            self.in_list = True
        elif mark == "]":
            self.in_value = self.in_list = False
        elif mark == "," and self.in_list:
            self.next_in_list()

    def enter(self, position: Position) -> None:
        if len(self.open) == _DEEPEST:
            raise TextError(f"messages are nested more than {_DEEPEST} deep", position)
        if self.in_list:
            self.found[self.name] = position
        self.open.append((self.name, position, self.in_list))
        self.in_value = self.in_list = False

    def leave(self, position: Position) -> None:
        if not self.open:
            raise TextError('this "}" closes nothing', position)
        self.name, _, self.in_list = self.open.pop()


def _is_finite(word: str) -> bool:
    """Whether a value is anything but nan, an infinity, or a number that a 32-bit float holds as one."""
    for number in (word, word.removesuffix("f")):  # 0.5f is a number too
        try:
            return abs(float(number)) <= _LARGEST_FLOAT
        except ValueError:
            continue
    return True


def locate(text: str) -> dict[FieldPath, Position]:
    """Map the path of every field in a text to the position of its name (in a list: of its value).

    Raises TextError for a brace that is never closed or closes nothing, and for nan and inf.
    """
    reader = _Reader()
    line, line_start = 1, 0
    for match in _TOKEN.finditer(text):
        kind, token = match.lastgroup, match.group()
        position = (line, match.start() - line_start + 1)
        if kind == "skip":
            if "\n" in token:
                line += token.count("\n")
                line_start = match.start() + token.rfind("\n") + 1
        elif kind == "open":
            reader.enter(position)
        elif kind == "close":
            reader.leave(position)
        elif kind == "mark":
            reader.mark(token)
        elif reader.in_value:
            reader.value(token if kind == "word" else "", position)
        elif kind == "word":
            reader.field(token, position)
    if reader.open:
        path, position, _ = reader.open[-1]
        raise TextError(f'the "{{" of "{path[-2] if path else ""}" is never closed', position)
    return reader.found
