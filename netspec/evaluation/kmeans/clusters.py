"""k-means by scikit-learn, in small batches."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.errors import NetspecError

Rows = NDArray[np.float32]


def scikit_learn() -> Any:
    """The parts of scikit-learn that are needed here; NetspecError where it is not installed."""
    try:
        import sklearn.cluster
        import sklearn.linear_model
    except ImportError:
        raise NetspecError("scikit-learn is not installed: pip install 'netspec[kmeans]'") from None
    return sklearn


def centres_of(batches: Iterable[Rows], clusters: int, seed: int) -> Rows:
    """The centres (K, D) of clusters of rows (N, D), learned from batches in turn, of at least K rows each (Sculley,
    "Web-Scale K-Means Clustering", 2010)."""
    learned = scikit_learn().cluster.MiniBatchKMeans(clusters, random_state=seed, n_init=1, reassignment_ratio=0.01)
    for batch in batches:
        learned.partial_fit(batch)
    centres: Rows = learned.cluster_centers_.astype(np.float32)
    return centres


def square_distances(rows: Rows, centres: Rows) -> Rows:
    """The squared distance (N, K) of each row to each centre, not below 0."""
    products = rows @ centres.T
    distances: Rows = (rows**2).sum(1, keepdims=True) - 2 * products + (centres**2).sum(1)
    return np.maximum(distances, 0, out=distances)


def nearest(rows: Rows, centres: Rows) -> NDArray[np.int64]:
    """The number of the nearest centre (N,) of each row."""
    numbers: NDArray[np.int64] = square_distances(rows, centres).argmin(1)
    return numbers
