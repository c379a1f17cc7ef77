"""The baselines, one after the other, as errors on images that they did not learn from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netspec.errors import DataError
from netspec.evaluation.hits import Share
from netspec.evaluation.kmeans.classifiers import predicted_by_means, predicted_linearly, standardised
from netspec.evaluation.kmeans.clusters import scikit_learn
from netspec.evaluation.kmeans.image_set import ImageSet
from netspec.evaluation.kmeans.patches import ENCODINGS, learn_dictionary
from netspec.evaluation.kmeans.pixels import predicted_by_pixels

STUDY = 0.982
"""The error of the k-means baseline in A. Banerjee and V. Iyer, "CS231n Project Report: Tiny ImageNet Challenge"
(2015)."""


@dataclass(frozen=True)
class Settings:
    """How many clusters images and patches fall into, from how many patches of which side in pixels they are learned,
    how far apart the patches lie that an image is described by, how these are encoded, and the seed of all draws."""

    clusters: int = 200
    patches: int = 100_000
    side: int = 8
    stride: int = 4
    encoding: str = ENCODINGS[0]
    seed: int = 0


def baselines(train: ImageSet, val: ImageSet, settings: Settings) -> Iterator[tuple[str, Share]]:
    """Each baseline in words, with its wrong images of `val`, as soon as it is known. DataError where the sets do not
    fit together or are too small, NetspecError where scikit-learn is missing."""
    scikit_learn()
    _refuse(train, val, settings)
    clusters, seed = settings.clusters, settings.seed
    yield f"raw pixels, {clusters} clusters", _wrong(val, predicted_by_pixels(train, val, clusters, seed))
    dictionary = learn_dictionary(
        train, clusters, settings.patches, settings.side, settings.stride, settings.encoding, seed
    )
    features = standardised(dictionary.features(train), dictionary.features(val))
    name = f"whitened patches, {clusters} clusters, {settings.encoding}"
    yield f"{name}, nearest class mean", _wrong(val, predicted_by_means(features[0], train.labels, features[1]))
    yield f"{name}, linear", _wrong(val, predicted_linearly(features[0], train.labels, features[1]))


def _refuse(train: ImageSet, val: ImageSet, settings: Settings) -> None:
    if train.images.shape[1:] != val.images.shape[1:]:
        shapes = " and ".join("x".join(map(str, part.images.shape[1:])) for part in (train, val))
        raise DataError(f"{val.path}: its images are not of the size of those in {train.path}: {shapes}")
    for count, what in ((len(train), f"images in {train.path}"), (settings.patches, "patches")):
        if count < settings.clusters:
            raise DataError(f"{settings.clusters} clusters need as many {what}: there are {count}")


def _wrong(val: ImageSet, predictions: NDArray[np.int64]) -> Share:
    return Share(int((predictions != val.labels).sum()), len(val))
