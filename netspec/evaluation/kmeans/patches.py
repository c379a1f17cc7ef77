"""Features of images by a dictionary of whitened patches: Coates and Ng, "Learning Feature Representations with
K-means" (2012); Coates, Lee and Ng, "An Analysis of Single-Layer Networks in Unsupervised Feature Learning" (2011)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from netspec.errors import DataError
from netspec.evaluation.kmeans.clusters import Rows, centres_of, square_distances
from netspec.evaluation.kmeans.image_set import ImageSet

ENCODINGS = ("triangle", "hard")

_CONTRAST, _WHITENING = 10.0, 0.1
"""What is added to the variance of a patch (of pixels 0 to 255) and to the eigenvalues of the covariance."""
_PASSES, _BATCH, _IMAGES_AT_ONCE = 10, 2000, 32


@dataclass(frozen=True)
class Dictionary:
    """Patches of `side` pixels, one every `stride`, become ``(normalised(patch) - mean) @ whitening`` (D, D), and are
    compared with `centres` (K, D). `encoding`: "hard" says which is nearest, 1 of K; "triangle" how much nearer than
    on average each is, or 0."""

    side: int
    stride: int
    mean: Rows
    whitening: Rows
    centres: Rows
    encoding: str

    def features(self, images: ImageSet) -> Rows:
        """What the dictionary says of each image (N, 4K): the sums of its patches' codes over each quadrant."""
        return np.concatenate([self._features(batch) for batch in images.batches(_IMAGES_AT_ONCE)])

    def _features(self, batch: NDArray[np.float32]) -> Rows:
        grid = _patches(batch, self.side)[:, :: self.stride, :: self.stride]
        count, rows, columns = grid.shape[:3]
        whitened = whiten(normalised(grid.reshape(count * rows * columns, -1)), self.mean, self.whitening)
        codes = encode(whitened, self.centres, self.encoding).reshape(count, rows, columns, -1)
        y, x = (rows + 1) // 2, (columns + 1) // 2
        quadrants = codes[:, :y, :x], codes[:, :y, x:], codes[:, y:, :x], codes[:, y:, x:]
        return np.concatenate([quadrant.sum((1, 2)) for quadrant in quadrants], 1)


def learn_dictionary(
    images: ImageSet, clusters: int, count: int, side: int, stride: int, encoding: str, seed: int
) -> Dictionary:
    """A dictionary of `clusters` centres from `count` patches that `seed` draws. DataError where the images are smaller
    than a patch."""
    if min(images.images.shape[2:]) < side:
        raise DataError(f"{images.path}: patches of {side} pixels are larger than the images")
    order = np.random.default_rng(seed)
    drawn = normalised(_drawn(images, count, side, order))
    mean, whitening = zca(drawn)
    whitened = whiten(drawn, mean, whitening)
    centres = centres_of(_passes(whitened, max(_BATCH, clusters), order), clusters, seed)
    return Dictionary(side, stride, mean, whitening, centres, encoding)


def normalised(patches: Rows) -> Rows:
    """Patches (N, D) of mean 0 and, but for the flattest, variance 1 each."""
    centred = patches - patches.mean(1, keepdims=True)
    same: Rows = centred / np.sqrt(patches.var(1, keepdims=True) + np.float32(_CONTRAST))
    return same


def zca(rows: Rows) -> tuple[Rows, Rows]:
    """The mean (D,) and the symmetric matrix (D, D) that make rows (N, D) white: of no correlation and, but for what
    hardly varies, variance 1."""
    mean: Rows = rows.mean(0)
    values, vectors = np.linalg.eigh(np.cov(rows, rowvar=False).astype(np.float64))
    whitening = (vectors / np.sqrt(np.maximum(values, 0) + _WHITENING)) @ vectors.T
    return mean, whitening.astype(np.float32)


def whiten(rows: Rows, mean: Rows, whitening: Rows) -> Rows:
    """Rows (N, D) made white."""
    white: Rows = np.matmul(rows - mean, whitening, dtype=np.float32)
    return white


def encode(rows: Rows, centres: Rows, encoding: str) -> Rows:
    """The codes (N, K) of rows (N, D)."""
    distances = square_distances(rows, centres)
    if encoding == "hard":
        nearest: Rows = (np.arange(len(centres)) == distances.argmin(1)[:, None]).astype(np.float32)
        return nearest
    distances = np.sqrt(distances, out=distances)
    nearer: Rows = distances.mean(1, keepdims=True) - distances
    return np.maximum(nearer, 0, out=nearer)


def _patches(images: NDArray[Any], side: int) -> NDArray[Any]:
    """All patches (N, Y, X, C, side, side) of images, as a view."""
    windows: NDArray[Any] = sliding_window_view(images, (side, side), (2, 3))
    patches: NDArray[Any] = windows.transpose(0, 2, 3, 1, 4, 5)
    return patches


def _drawn(images: ImageSet, count: int, side: int, order: np.random.Generator) -> Rows:
    """Patches (count, D) from anywhere in any image."""
    grid = _patches(images.images, side)
    places = tuple(order.integers(0, size, count) for size in grid.shape[:3])
    drawn: Rows = grid[places].reshape(count, -1).astype(np.float32)
    return drawn


def _passes(rows: Rows, size: int, order: np.random.Generator) -> Iterator[Rows]:
    for _ in range(_PASSES):
        places = order.permutation(len(rows))
        for start in range(0, max(1, len(rows) - size + 1), size):
            yield rows[places[start : start + size]]
