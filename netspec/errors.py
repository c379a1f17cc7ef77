"""The errors that a user can cause: in what they wrote (SpecError), in their files (DataError, SnapshotError)."""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

_LONGEST_MESSAGE, _LONGEST_REASON, _LONGEST_WORD, _LONGEST_PATH = 299, 160, 40, 255
"""Characters. Only a long path can make a message longer; other words are cut where the reason would be too long."""

_PIECES = re.compile(r'("[^"]*"|\s)')
_LONG_WORD = re.compile(rf"(\S{{{_LONGEST_WORD // 2}}})\S{{3,}}(\S{{{_LONGEST_WORD // 2}}})")

_SHOWN_COLUMNS = 100


class NetspecError(Exception):
    """Something that the user can put right; the message says where it is and what was expected."""


class SnapshotError(NetspecError):
    """A weights file or a snapshot cannot be read, written or used; the message has the path and the cause."""


class DataError(NetspecError):
    """A data file cannot be used; the message names the file, the record where there is one, and the cause."""


class DivergedError(NetspecError):
    """The loss of a run is NaN or infinite; the message has the iteration and what is the first that is not finite."""


class SpecError(NetspecError):
    """A mistake in what the user wrote: file, line and column (from 1), the line with a caret, the reason, a hint."""

    def __init__(
        self, reason: str, path: str, text: str = "", position: tuple[int, int] = (1, 1), hint: str = ""
    ) -> None:
        self.reason, self.path, self.hint = _shortened(reason), path, _shortened(hint, _LONGEST_WORD * 2)
        self.line, self.column = position
        lines = text.split("\n")
        self.source_line = lines[self.line - 1] if self.line <= len(lines) else ""
        super().__init__(reason)

    def __str__(self) -> str:
        message = f"{self.path}:{self.line}:{self.column}: {self.reason}"
        columns = min(_SHOWN_COLUMNS, (_LONGEST_MESSAGE - len(message) - len(self.hint) - 12) // 2)
        if self.source_line.strip() and columns > 0:
            shown, caret = _window(self.source_line, self.column, columns)
            message += f"\n    {shown}\n    {' ' * caret}^"
        return f"{message}\n{self.hint}" if self.hint else message


def nearest(name: str, known: Iterable[str], shown: Mapping[str, str] | None = None) -> str:
    """A hint with the known name closest to a misspelt one, or nothing where none is close; `shown` says what stands
    for a name in the hint."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    found = difflib.get_close_matches(name.lower(), list(by_lower), n=1, cutoff=0.6)
    if not found:
        return ""
    best = by_lower[found[0]]
    return f'did you mean "{(shown or {}).get(best, best)}"?'


@contextmanager
def readable_errors() -> Iterator[None]:
    """End the program with the message alone where the user made a mistake, as the tools do; and in silence where
    nobody reads its output any more, as behind `| head`."""
    try:
        yield
        sys.stdout.flush()
    except NetspecError as error:
        sys.exit(f"error: {error}")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python flushes, and tells, once more
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit("interrupted")


def _window(line: str, column: int, columns: int) -> tuple[str, int]:
    """At most some columns of a line around a column, and where the caret goes below them."""
    line = "".join(character if character.isprintable() else " " for character in line)
    start = max(0, min(column - 1 - columns // 2, len(line) - columns))
    shown = line[start : start + columns].rstrip()
    stripped = len(shown) - len(shown.lstrip())
    return shown.lstrip(), max(0, column - 1 - start - stripped)


def _shortened(sentence: str, longest: int = _LONGEST_REASON) -> str:
    """A sentence in printable characters: one that is too long has the middle of its long words left out, but not of
    its paths, and is cut where that is not enough."""
    sentence = "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in sentence)
    if len(sentence) <= longest:
        return sentence
    pieces = _PIECES.split(sentence)
    paths = [piece for piece in pieces if "/" in piece and len(piece) <= _LONGEST_PATH]
    room = longest + sum(max(0, len(path) - _LONGEST_WORD) for path in paths)
    return "".join(piece if piece in paths else _LONG_WORD.sub(r"\1...\2", piece) for piece in pieces)[:room]
