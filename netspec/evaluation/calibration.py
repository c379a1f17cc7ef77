"""Whether a net is right as often as it is sure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netspec.errors import DataError
from netspec.evaluation.hits import labels_of
from netspec.scores import Scores

BINS = 15
"""Of equal width, as Guo et al. (2017) take them."""

_SUM_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Bin:
    """The images whose predictions have a probability above `low` and up to `high`: how many, the mean of these
    probabilities, and the share that is right; zeros where there are none."""

    low: float
    high: float
    images: int
    probability: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """A reliability table, and what it comes to.

    `error` is the expected calibration error: the mean over images of their bin's |accuracy - probability| (Guo et
    al., "On Calibration of Modern Neural Networks", 2017). `log_likelihood` is the mean of -log of the label's
    probability, in nats, which is Caffe's SoftmaxWithLoss: a probability counts as at least the smallest float32.
    `brier` is the mean over images of the squared distance between the distribution and the label as one, 0 to 2
    (Brier 1950).
    """

    bins: tuple[Bin, ...]
    error: float
    log_likelihood: float
    brier: float


def probabilities(scores: Scores) -> NDArray[np.float64]:
    """Each image's distribution over the classes (N, C): the softmax of raw scores. DataError where scores that are
    said to be distributions are none."""
    values = scores.scores.astype(np.float64)
    if scores.kind == "raw":
        values = np.exp(values - values.max(1, keepdims=True))
        distribution: NDArray[np.float64] = values / values.sum(1, keepdims=True)
        return distribution
    sums = values.sum(1)
    bad = np.flatnonzero((np.abs(sums - 1) > _SUM_TOLERANCE) | (values < 0).any(1))
    if bad.size:
        row = int(bad[0])
        reason = f"the scores of {scores.keys[row]} are no probabilities: they have the sum {sums[row]:.6g}"
        raise DataError(f'{scores.origin}: kind is "softmax", but {reason} and the least is {values[row].min():.6g}')
    return values


def calibration(scores: Scores, bins: int = BINS) -> Calibration:
    """The calibration of scores; DataError where these have no labels."""
    labels, distributions = labels_of(scores), probabilities(scores)
    rows = np.arange(len(labels))
    own = distributions[rows, labels]
    table = _table(distributions[rows, scores.predictions], scores.predictions == labels, bins)
    return Calibration(
        table,
        sum(row.images * abs(row.accuracy - row.probability) for row in table) / len(labels),
        float(-np.log(np.maximum(own, np.finfo(np.float32).tiny)).mean()),
        float(((distributions**2).sum(1) - 2 * own + 1).mean()),
    )


def _table(sure: NDArray[np.float64], right: NDArray[np.bool_], bins: int) -> tuple[Bin, ...]:
    places = np.clip(np.ceil(sure * bins).astype(int) - 1, 0, bins - 1)
    images, sums, hits = (np.bincount(places, weights, bins) for weights in (None, sure, right))
    many = np.maximum(images, 1)
    means = zip(images, sums / many, hits / many, strict=True)
    return tuple(
        Bin(place / bins, (place + 1) / bins, int(count), float(mean), float(share))
        for place, (count, mean, share) in enumerate(means)
    )
