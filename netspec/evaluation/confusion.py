"""Which class is taken for which."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netspec.evaluation.hits import Share, labels_of
from netspec.scores import Scores


@dataclass(frozen=True)
class Confusion:
    """The confusion matrix (C, C): `counts[a, b]` images of class `a` are predicted to be `b`."""

    counts: NDArray[np.int64]

    @property
    def recall(self) -> list[Share]:
        """Of the images of each class, how many are predicted so: its accuracy."""
        return self._of(self.counts.sum(1))

    @property
    def precision(self) -> list[Share]:
        """Of the images predicted to be each class, how many are."""
        return self._of(self.counts.sum(0))

    def _of(self, cases: NDArray[np.int64]) -> list[Share]:
        return [Share(int(hit), int(case)) for hit, case in zip(self.counts.diagonal(), cases, strict=True)]

    def worst(self, count: int) -> list[int]:
        """The classes with images that have the lowest recall, the lowest first, of equal ones by number."""
        images = self.counts.sum(1)
        recall = self.counts.diagonal() / np.maximum(images, 1)
        order = np.argsort(recall, kind="stable")
        return [int(number) for number in order[images[order] > 0][:count]]

    def most_confused(self, count: int) -> list[tuple[int, int, int]]:
        """Pairs (class, prediction, images) of two classes, those of most images first, of equal ones by number. None
        has no images."""
        wrong = self.counts - np.diag(self.counts.diagonal())
        order = np.argsort(-wrong, axis=None, kind="stable")[:count]
        pairs = [(*divmod(int(place), len(wrong)), int(wrong.flat[place])) for place in order]
        return [pair for pair in pairs if pair[-1]]


def confusion(scores: Scores) -> Confusion:
    """The confusion matrix of scores; DataError where these have no labels."""
    classes = scores.scores.shape[1]
    places = labels_of(scores) * classes + scores.predictions
    return Confusion(np.bincount(places, minlength=classes**2).reshape(classes, classes).astype(np.int64))
