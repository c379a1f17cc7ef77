"""Clusters of whole images, each of which takes the class that most of its images have."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from netspec.evaluation.kmeans.clusters import Rows, centres_of, nearest
from netspec.evaluation.kmeans.image_set import ImageSet

_PASSES = 3
_BATCH = 1000


def predicted_by_pixels(train: ImageSet, val: ImageSet, clusters: int, seed: int) -> NDArray[np.int64]:
    """A class (N,) for each image of `val`: that of the nearest cluster of `train`'s raw pixels."""
    order = np.random.default_rng(seed)
    centres = centres_of(_drawn(train, max(_BATCH, clusters), order), clusters, seed)
    numbers = np.concatenate([nearest(rows, centres) for rows in _rows(train)])
    classes = majority(numbers, train.labels, clusters)
    found: NDArray[np.int64] = classes[np.concatenate([nearest(rows, centres) for rows in _rows(val)])]
    return found


def majority(numbers: NDArray[np.int64], labels: NDArray[np.int64], clusters: int) -> NDArray[np.int64]:
    """The most frequent label (K,) of each cluster, of equally frequent ones the lowest; that of the whole set for a
    cluster without images. `numbers` (N,) are the clusters of the images."""
    classes = int(labels.max()) + 1
    counts = np.bincount(numbers * classes + labels, minlength=clusters * classes).reshape(clusters, classes)
    most: NDArray[np.int64] = np.where(counts.any(1), counts.argmax(1), counts.sum(0).argmax())
    return most


def _drawn(images: ImageSet, size: int, order: np.random.Generator) -> Iterator[Rows]:
    """Passes over the images, each in an order of its own, in batches of one size, without the rest of each pass."""
    for _ in range(_PASSES):
        places = order.permutation(len(images))
        for start in range(0, max(1, len(images) - size + 1), size):
            yield _flat(images.images[places[start : start + size]].astype(np.float32))


def _rows(images: ImageSet) -> Iterator[Rows]:
    return map(_flat, images.batches(_BATCH))


def _flat(images: NDArray[np.float32]) -> Rows:
    return images.reshape(len(images), -1)
