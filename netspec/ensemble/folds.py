"""Images parted into folds, of which each is held out once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from netspec.errors import DataError
from netspec.evaluation.hits import labels_of
from netspec.scores import Scores

Images = NDArray[np.int64]


def folds(scores: Scores, count: int) -> Iterator[tuple[Images, Images]]:
    """For each fold the numbers of the other images and of its own. The images of each class are dealt out evenly, in
    an order that only their keys decide, so that it is the same for all files and on all machines."""
    if not 2 <= count <= len(scores.keys):
        raise DataError(f"{scores.origin}: {len(scores.keys)} images cannot be parted into {count} folds")
    labels = labels_of(scores)
    shuffled = [hashlib.sha256(key.encode(errors="surrogateescape")).digest() for key in scores.keys]
    order = sorted(range(len(shuffled)), key=lambda image: (labels[image], shuffled[image]))
    fold = np.empty(len(order), np.int64)
    fold[order] = np.arange(len(order)) % count
    for number in range(count):
        yield np.flatnonzero(fold != number), np.flatnonzero(fold == number)
