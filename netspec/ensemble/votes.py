"""Ensembles that look at each net's predictions, and at which classes it takes for which."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from netspec.ensemble.rule import Array, like, softmax
from netspec.evaluation.calibration import probabilities
from netspec.scores import Scores

_TIE_WEIGHT = 1e-4
"""Of the nets' mean distribution in the logarithms: it only tells classes apart that the predictions leave equal."""

_MOST_ROUNDS, _SETTLED = 50, 1e-4

Counts = NDArray[np.int64]


def naive_bayes(members: Sequence[Scores], counts: Counts, smoothing: float) -> Scores:
    """log P(class) + the sum over nets of log P(its prediction | class), as if the nets erred independently.

    `counts` (members, C, C) are the confusion matrices on labelled images, a row a label. Each row counts `smoothing`
    images more, predicted as by a net that is right as often as this one and takes no wrong class more than others.
    """
    predictions = [member.predictions for member in members]
    return like(members[0], _posterior(predictions, counts.astype(np.float64), smoothing, _mean(members)))


def dawid_skene(members: Sequence[Scores], counts: Counts | None, smoothing: float) -> tuple[Scores, Array]:
    """The ensemble's scores, and the confusion matrices (members, C, C; each row a distribution) that EM finds with
    them from images without labels (Dawid and Skene, "Maximum Likelihood Estimation of Observer Error-Rates Using the
    EM Algorithm", 1979).

    It starts from the mean of the nets' distributions; or from the confusion matrices on labelled images, `counts`,
    which it then keeps as so many images more. `smoothing` as in naive Bayes.
    """
    classes = members[0].scores.shape[1]
    known = np.zeros((len(members), classes, classes)) if counts is None else counts.astype(np.float64)
    predictions, mean = [member.predictions for member in members], _mean(members)
    combined = mean if counts is None else _posterior(predictions, known, smoothing, mean)
    found = known
    for _ in range(_MOST_ROUNDS):
        before = combined
        found = known + np.stack([_expected_counts(votes, before) for votes in predictions])
        combined = _posterior(predictions, found, smoothing, mean)
        if np.abs(combined - before).max() < _SETTLED:
            break
    return like(members[0], combined), _confusions(found, smoothing)


def _posterior(predictions: Sequence[Counts], counts: Array, smoothing: float, mean: Array) -> Array:
    """Each image's distribution over the classes (N, C) by these confusion matrices; the nets' mean one breaks ties."""
    given = np.log(_confusions(counts, smoothing)).transpose(0, 2, 1).copy()
    logs = np.log(counts[0].sum(1) + smoothing) + _TIE_WEIGHT * mean
    for own, votes in zip(given, predictions, strict=True):
        logs += own[votes]
    return softmax(logs)


def _confusions(counts: Array, smoothing: float) -> Array:
    """Smoothed confusion matrices (members, C, C), whose rows are distributions."""
    classes = counts.shape[1]
    right = (counts.trace(0, 1, 2) + 1) / (counts.sum((1, 2)) + 2)
    even = np.where(np.eye(classes, dtype=bool), right[:, None, None], (1 - right[:, None, None]) / max(classes - 1, 1))
    smoothed = counts + smoothing * even
    confusions: Array = smoothed / smoothed.sum(2, keepdims=True)
    return confusions


def _expected_counts(votes: Counts, posterior: Array) -> Array:
    """The confusion matrix of a net (C, C) as a sum over the classes that each image may be of."""
    own = [posterior[votes == number].sum(0) for number in range(posterior.shape[1])]
    return np.stack(own, axis=1)


def _mean(members: Sequence[Scores]) -> Array:
    mean: Array = np.mean([probabilities(member) for member in members], axis=0)
    return mean
