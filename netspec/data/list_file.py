"""The text files that name what a data layer reads: a file a line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import numpy as np

from netspec.data.labels import Labels
from netspec.errors import DataError

_SEPARATORS = {",": "a comma", ";": "a semicolon", "\t": "a tab"}
_OTHER_SEPARATOR = re.compile(r"([,;\t])-?[\d.]+$")


@dataclass(frozen=True)
class Listing:
    """Image files and their labels (N,), or (N, K) where K is not 1, and where they were found: the list or folder
    `path`, in a list the lines, and of a folder the names of the classes by number."""

    path: Path
    names: list[str]
    labels: Labels
    lines: list[int] | None = None
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def where(self, index: int) -> str:
        """How messages name an image."""
        if self.lines is None:
            return f"{self.path / self.names[index]}"
        return f"{self.path}: line {self.lines[index]} ({self.names[index]})"


def read_lines(path: Path) -> list[tuple[int, str]]:
    """The lines of a text that hold something, stripped, each with its number from 1; DataError where there are
    none."""
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: the list cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is no list of files: it is not text in UTF-8") from None
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if not lines:
        raise DataError(f"{path}: the list is empty")
    return lines


def read_listing(path: Path, labels: int) -> Listing:
    """The images of a list: a line is a name, which may hold spaces, and so many labels, each after a space."""
    lines = read_lines(path)
    parted = [_name_and_labels(path, number, line, labels) for number, line in lines]
    values = np.array([row for _, row in parted], np.float64).reshape(len(lines), labels)
    shaped = values[:, 0] if labels == 1 else values
    return Listing(path, [name for name, _ in parted], shaped, [number for number, _ in lines])


def _name_and_labels(path: Path, number: int, line: str, labels: int) -> tuple[str, list[float]]:
    name, *words = line.rsplit(" ", labels) if labels else [line]
    try:
        values = [float(word) for word in words]
        if name and len(values) == labels and all(map(isfinite, values)):
            return name, values
    except ValueError:
        pass
    if parted := _OTHER_SEPARATOR.search(line):
        reason = f"a label comes after a space, not {_SEPARATORS[parted[1]]}"
        raise DataError(f"{path}: line {number}: {reason}: {line[:80]}")
    form = " ".join(("path", *("label",) * min(labels, 3), *("...",) * (labels > 3)))
    raise DataError(f'{path}: line {number} is not "{form}": {line[:80]}')
