"""Predicted classes whose counts come out as wanted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from netspec.ensemble.rule import Array, like, log_probabilities, softmax
from netspec.ensemble.transport import Transport
from netspec.errors import DataError
from netspec.log import logger
from netspec.scores import Scores

_FINENESS = 2.0**20
"""Steps of a logarithm of 1: what is closer counts as equal."""

_LEAST = -(2.0**16)
"""What is less probable counts as this, so that the sums of `Transport` stay exact for any scores."""


def balance(scores: Scores, proportions: Sequence[float] = (), strength: float = 1.0) -> Scores:
    """The scores with each class's column of probabilities times a number, so that as many images are predicted to be
    of each class as `proportions` (C) say, by default equally many. Of all predictions with these counts it has those
    that are the most probable together, and what the scores leave equal goes where there is room. With a `strength`
    below 1 the counts go that part of the way only, with 0 nowhere. DataError where these do not fit.
    """
    wanted = _wanted(scores, proportions, strength)
    if not strength:
        return scores
    logs = np.maximum(log_probabilities(scores), _LEAST)
    transport = Transport(np.rint(logs * _FINENESS).astype(np.int64))
    transport.move_to(wanted)
    balanced = like(scores, softmax(logs + transport.prices() / _FINENESS))
    return _with_predictions(balanced, transport.classes)


def _wanted(scores: Scores, proportions: Sequence[float], strength: float) -> NDArray[np.int64]:
    images, classes = scores.scores.shape
    if not 0 <= strength <= 1:
        raise DataError(f"the strength of the balancing is {strength:g}: it goes from 0 to 1")
    if proportions and len(proportions) != classes:
        raise DataError(f"{scores.origin}: {len(proportions)} counts for {classes} classes")
    if proportions and not (min(proportions) >= 0 and 0 < sum(proportions) < np.inf):
        raise DataError("the counts of the classes must be 0 or above, and not all 0")
    shares = np.array(proportions or [1.0] * classes) / (sum(proportions) or classes)
    own = np.bincount(scores.predictions, minlength=classes)
    unseen = int((own == 0).sum())
    if not proportions and unseen > classes / 2:
        some = "which get as many as the others now; counts of the classes say how many each is to have"
        logger.warning(
            "%s: no image is predicted to be of %d of the %d classes, %s", scores.origin, unseen, classes, some
        )
    return _whole((1 - strength) * own + strength * images * shares, images)


def _whole(amounts: Array, total: int) -> NDArray[np.int64]:
    """Whole numbers with a sum: the amounts rounded down, and up those with the largest remainders."""
    counts = np.floor(amounts + 1e-9).astype(np.int64)
    last = np.argsort(counts - amounts, kind="stable")[: total - int(counts.sum())]
    counts[last] += 1
    return counts


def _with_predictions(scores: Scores, classes: NDArray[np.int64]) -> Scores:
    """The scores with the class of each image that the prices leave equal to others raised above these."""
    rows = np.flatnonzero(scores.predictions != classes)
    values = scores.scores.copy()
    values[rows, classes[rows]] = np.nextafter(values[rows].max(1), np.float32(2))
    return Scores(values, scores.keys, scores.labels, scores.classes, scores.kind, scores.origin)
