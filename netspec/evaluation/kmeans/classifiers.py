"""Classes by features: the nearest mean of a class, and a linear classifier."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netspec.evaluation.kmeans.clusters import Rows, nearest, scikit_learn

Labels = NDArray[np.int64]

_PENALTY = 100.0


def standardised(train: Rows, val: Rows) -> tuple[Rows, Rows]:
    """Features (N, D) with mean 0 and variance 1 over the train images, those of val likewise."""
    mean, deviation = train.mean(0), train.std(0) + np.float32(1e-6)
    return (train - mean) / deviation, (val - mean) / deviation


def predicted_by_means(train: Rows, labels: Labels, val: Rows) -> Labels:
    """The class (N,) whose train images have the nearest mean."""
    classes = np.unique(labels)
    means = np.stack([train[labels == number].mean(0) for number in classes])
    found: Labels = classes[nearest(val, means)]
    return found


def predicted_linearly(train: Rows, labels: Labels, val: Rows) -> Labels:
    """The class (N,) by least squares of one class against the others, with a penalty on the weights."""
    if len(np.unique(labels)) == 1:
        return np.full(len(val), labels[0])
    fitted = scikit_learn().linear_model.RidgeClassifier(alpha=_PENALTY).fit(train, labels)
    found: Labels = fitted.predict(val).astype(np.int64)
    return found
