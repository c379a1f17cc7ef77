"""The best assignment of images to classes that gives each class its count of images."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]
Array = NDArray[np.float64]

_FAR = 2**52
"""More than any path of losses; the sum of two is a number still."""


class Transport:
    """Images and classes, and what each image gains in each class: `gains` (N, C), whole numbers so that their sums
    are exact, below 2**52 / C of one another. At first each image is in the class of its largest gain.

    `move_to` is optimal transport by successive shortest paths (Ahuja, Magnanti and Orlin, "Network Flows", 1993,
    section 9.7), on a graph of the classes alone: from one class to another is as far as the least loss of an image
    that moves.
    """

    def __init__(self, gains: Numbers) -> None:
        self._gains = gains
        self.classes: Numbers = gains.argmax(1).astype(np.int64)
        self._losses = np.stack([self._losses_from(number) for number in range(gains.shape[1])])

    @property
    def counts(self) -> Numbers:
        """How many images are in each class (C,)."""
        return np.bincount(self.classes, minlength=self._gains.shape[1]).astype(np.int64)

    def move_to(self, counts: Numbers) -> None:
        """Give every class so many images (C,), N in all, with the largest sum of gains that this allows."""
        excess = self.counts - counts
        while excess.any():
            path = self._shortest_path(excess > 0, excess < 0)
            for start, end in pairwise(path):
                own = np.flatnonzero(self.classes == start)
                self.classes[own[(self._gains[own, start] - self._gains[own, end]).argmin()]] = end
            for number in path:
                self._losses[number] = self._losses_from(number)
            excess[path[0]] -= 1
            excess[path[-1]] += 1

    def prices(self) -> Array:
        """What to add to each class's gains (C,) so that every image's class has its largest gain: of all such numbers
        those in the middle, with which only images that could as well be in two classes have equal largest gains."""
        distances = self._losses.copy()
        np.fill_diagonal(distances, 0)
        for number in range(len(distances)):
            np.minimum(distances, distances[:, [number]] + distances[[number]], out=distances)
        middle: Array = distances[self.counts > 0].mean(0)
        return middle

    def _losses_from(self, number: int) -> Numbers:
        """The least loss (C,) of an image of a class that moves to each class."""
        own = self._gains[self.classes == number]
        losses: Numbers = (own[:, [number]] - own).min(0, initial=_FAR)
        return losses

    def _shortest_path(self, starts: NDArray[np.bool_], ends: NDArray[np.bool_]) -> list[int]:
        """The classes on the shortest path from any start to any end (Bellman-Ford: losses may be negative)."""
        distances = np.where(starts, 0, _FAR)
        before = np.full(len(starts), -1)
        while True:
            through = distances[:, None] + self._losses
            nearer = through.min(0) < distances
            if not nearer.any():
                break
            before = np.where(nearer, through.argmin(0), before)
            distances = np.where(nearer, through.min(0), distances)
        path = [int(np.where(ends, distances, 2 * _FAR).argmin())]
        while before[path[-1]] >= 0:
            path.append(int(before[path[-1]]))
        return path[::-1]
