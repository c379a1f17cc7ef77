"""R-CNN's window file: images, each with boxes that a class and an overlap with the nearest object are known of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from netspec.data.labels import Labels
from netspec.data.list_file import read_lines
from netspec.data.order import Indices
from netspec.errors import DataError

_FORM = '"# index", path, channels, height, width, number of windows, then "class overlap x1 y1 x2 y2" a line'

Word = tuple[int, str, str]  # the line's number, the line, the word
Words = Iterator[Word]


@dataclass(frozen=True)
class Windows:
    """Every window in the order of the file: its image, its corners x1, y1, x2, y2 (both in it), class and overlap."""

    path: Path
    names: list[str]
    channels: int
    image: Indices
    corners: NDArray[np.int64]
    labels: Labels
    overlaps: NDArray[np.float32]
    lines: Indices

    def where(self, index: int) -> str:
        """How messages name a window: file, line, image file."""
        return f"{self.path}: line {self.lines[index]} ({self.names[self.image[index]]})"

    def sorted_out(self, fg_threshold: float, bg_threshold: float) -> Windows:
        """Foreground (overlap from `fg_threshold` on) and background (below `bg_threshold`, labelled 0); the others
        are left out. DataError where there is foreground of class 0."""
        foreground = self.overlaps >= np.float32(fg_threshold)
        background = ~foreground & (self.overlaps < np.float32(bg_threshold))
        if wrong := np.flatnonzero(foreground & (self.labels < 1)).tolist():
            raise DataError(
                f"{self.where(wrong[0])}: foreground of class {self.labels[wrong[0]]:g}, which is background"
            )
        used = foreground | background
        kept = {name: getattr(self, name)[used] for name in ("image", "corners", "overlaps", "lines")}
        return replace(self, labels=np.where(foreground, self.labels, 0)[used], **kept)


def read_windows(path: Path) -> Windows:
    """The windows of a file; DataError where it is not of the form. As in Caffe any space parts its words."""
    words = ((number, line, word) for number, line in read_lines(path) for word in line.split())
    names, channels, parts = [], [], []
    for number, line, word in words:
        if word != "#":
            raise DataError(f"{path}: line {number} is not of the form {_FORM}: {line[:80]}")
        _next(path, words)
        names.append(_next(path, words)[2])
        depth, _, _, count = (_whole(path, words) for _ in range(4))
        channels.append(depth)
        parts.append(_boxes(path, words, count, len(names) - 1))
    if len(set(channels)) > 1 or channels[0] not in (1, 3):
        raise DataError(f"{path}: images of {sorted(set(channels))} channels; all must have 1, or all 3")
    image, numbers, boxes = (np.concatenate(column) for column in zip(*parts, strict=True))
    labels, overlaps = boxes[:, 0].copy(), boxes[:, 1].astype(np.float32)
    return Windows(path, names, channels[0], image, boxes[:, 2:].astype(np.int64), labels, overlaps, numbers)


def _next(path: Path, words: Words) -> Word:
    try:
        return next(words)
    except StopIteration:
        raise DataError(f"{path} ends too early; an image is {_FORM}") from None


def _whole(path: Path, words: Words) -> int:
    number, _, word = _next(path, words)
    if not word.isdecimal():
        reason = f'"{word[:80]}" stands where a whole number is expected; an image is {_FORM}'
        raise DataError(f"{path}: line {number}: {reason}")
    return int(word)


def _boxes(path: Path, words: Words, count: int, image: int) -> tuple[Indices, Indices, NDArray[np.float64]]:
    """The windows of one image: its index and the line's number for each, and their six numbers."""
    taken = list(islice(words, 6 * count))
    if len(taken) < 6 * count:
        raise DataError(f"{path} ends too early: its last image has {len(taken) // 6} of {count} windows")
    lines = np.array([number for number, _, _ in taken], np.int64).reshape(count, 6)
    boxes = np.array([_number(word) for _, _, word in taken]).reshape(count, 6)
    if not np.isfinite(boxes).all():
        # The first one that goes over the end of a line is the likely cause of all that is wrong after it.
        wrong = np.flatnonzero((lines[:, 0] != lines[:, 5]) | ~np.isfinite(boxes).all(1))[0]
        number, line, _ = taken[6 * wrong]
        raise DataError(f'{path}: line {number} is not "class overlap x1 y1 x2 y2": {line[:80]}')
    return np.full(count, image), lines[:, 0], boxes


def _number(word: str) -> float:
    """The number that a word is, NaN where it is none."""
    try:
        return float(word)
    except ValueError:
        return np.nan
