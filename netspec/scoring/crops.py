"""The windows of an image that are scored: the centre, Caffe's five and ten, some at random, a grid."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np

from netspec.data.crops import Window
from netspec.data.order import Indices, below, words

MOST = 1024
"""Windows of an image."""

_FORMS = "center, 5, 10, random:K or grid:K"


@dataclass(frozen=True)
class Crops:
    """Which windows are cut out of each image, and whether their mirror images follow them.

    `kind` is "center", "corners" (the four and the centre: with mirror Caffe's, and Krizhevsky's, ten), "random"
    (`count` of them, drawn anew for each image, always the same for one place in the set) or "grid" (`count` x `count`
    from border to border). Offsets are whole pixels; where half a pixel remains it is left out, as in Caffe.
    """

    kind: str = "center"
    count: int = 1
    mirror: bool = False

    def __len__(self) -> int:
        """How many windows an image has."""
        plain = {"center": 1, "corners": 5, "random": self.count, "grid": self.count**2}[self.kind]
        return plain * (2 if self.mirror else 1)

    def __call__(self, positions: Indices, down: Indices, right: Indices) -> Iterator[Window]:
        """The windows of the images at these positions, which can move so many pixels `down` and `right`."""
        for mirrored in (False, True)[: 1 + self.mirror]:
            for y, x in self._offsets(positions, down, right):
                yield y, x, mirrored

    def _offsets(self, positions: Indices, down: Indices, right: Indices) -> Iterator[tuple[Indices, Indices]]:
        if self.kind == "corners":
            yield from product((np.zeros_like(down), down), (np.zeros_like(right), right))
        if self.kind == "random":
            for number in range(self.count):
                y, x = (words(positions, 0, number, axis) for axis in (0, 1))
                yield below(y, down + 1), below(x, right + 1)
        elif self.kind == "grid" and self.count > 1:
            yield from product(self._spread(down), self._spread(right))
        else:
            yield down // 2, right // 2

    def _spread(self, room: Indices) -> list[Indices]:
        """Offsets from the first border to the last, evenly."""
        return [room * place // (self.count - 1) for place in range(self.count)]


CENTER = Crops()


def parse_crops(text: str) -> Crops:
    """What a text such as "10" or "grid:3" stands for; ValueError where it is none of the forms."""
    plain = {"center": CENTER, "5": Crops("corners"), "10": Crops("corners", mirror=True)}
    if text in plain:
        return plain[text]
    kind, _, count = text.partition(":")
    if kind not in ("random", "grid") or not (count.isascii() and count.isdigit()) or int(count) < 1:
        raise ValueError(f'"{text}" is none of {_FORMS}')
    crops = Crops(kind, int(count))
    if len(crops) > MOST:
        raise ValueError(f'"{text}" means {len(crops)} windows of each image, {MOST} are the most')
    return crops
