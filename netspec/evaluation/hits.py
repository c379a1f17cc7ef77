"""How many images are scored right, and how sure that share is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netspec.errors import DataError
from netspec.scores import Scores

DEVIATIONS = 1.959963984540054
"""Of a normal distribution, 95 % lie within so many deviations."""


@dataclass(frozen=True)
class Share:
    """So many hits of so many cases."""

    hits: int
    cases: int

    @property
    def value(self) -> float:
        """The share, NaN of no cases."""
        return self.hits / self.cases if self.cases else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Where the share of a larger sample lies, with 95 % confidence: Wilson's score interval (1927), which holds
        for few cases too, and near 0 and 1. From 0 to 1 of no cases."""
        if not self.cases:
            return 0.0, 1.0
        square = DEVIATIONS**2 / self.cases
        centre = self.value + square / 2
        reach = math.sqrt(self.value * (1 - self.value) * square + square**2 / 4)
        return max(0.0, (centre - reach) / (1 + square)), min(1.0, (centre + reach) / (1 + square))

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.value:.4f} (95 %: {low:.4f} to {high:.4f})"


def labels_of(scores: Scores) -> NDArray[np.int64]:
    """The labels (N,); DataError where these are unknown."""
    if scores.labels is None:
        raise DataError(f"{scores.origin}: the images have no labels to hold the scores against")
    return scores.labels


def accuracy(scores: Scores) -> Share:
    """How many images have the largest score at their label, of equal scores the lowest class. Unlike here, in Caffe's
    Accuracy layer a tie is never won."""
    return top_accuracy(scores, 1)


def top_accuracy(scores: Scores, count: int) -> Share:
    """How many images have their label among the `count` largest scores, of equal ones the lowest classes; a class of
    no probability is not among them."""
    labels = labels_of(scores)[:, None]
    own = np.take_along_axis(scores.scores, labels, 1)
    classes = np.arange(scores.scores.shape[1])
    before = (scores.scores > own) | ((scores.scores == own) & (classes < labels))
    possible = scores.kind == "raw" or own[:, 0] > 0
    return Share(int(((before.sum(1) < count) & possible).sum()), len(labels))
