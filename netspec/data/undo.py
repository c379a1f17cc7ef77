"""Images behind a batch: what mean, deviation and scale made of the pixels, undone for the eye."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from netspec.data.images import mean_of
from netspec.schema.netspec_pb2 import LayerParameter, TransformationParameter

Values = NDArray[np.float32]

_UNTRANSFORMED = ("HDF5Data", "DummyData")
STRETCHED = "each image stretched from its least to its greatest value"


def pixels_of(values: Values, param: LayerParameter, find: Callable[[str], Path]) -> tuple[NDArray[np.uint8], str]:
    """The pixels 0 to 255, (N, C, H, W), that a data layer made values of, and in words how they were found.

    The layer's fields say it: value / scale * std_value + mean. A mean image is put back by its centre, which is not
    quite where a random crop lay. Where the fields do not say it each image is stretched.
    """
    transform = param.transform_param
    if param.type in _UNTRANSFORMED or not _is_affine(transform):
        return _whole(_stretched(values)), STRETCHED
    mean, used = np.zeros((), np.float32), []
    if transform.HasField("mean_file"):
        mean, used = _centre(mean_of(transform, find), values.shape[2:]), ["mean_file (its centre)"]
    elif transform.mean_value:
        mean, used = _of_channels(transform.mean_value), ["mean_value"]
    used += [name for name, given in (("std_value", transform.std_value), ("scale", transform.scale != 1)) if given]
    pixels = values / np.float32(transform.scale) * _of_channels(transform.std_value or [1]) + mean
    return _whole(pixels), f"{', '.join(used)} undone" if used else "values as they are"


def _is_affine(transform: TransformationParameter) -> bool:
    """Whether all images were treated alike, in a way that can be undone."""
    kinds = {_arithmetic(one) for one in (transform, *transform.copy)}
    return len(kinds) == 1 and not transform.standardize and transform.scale != 0


def _arithmetic(transform: TransformationParameter) -> tuple[object, ...]:
    means = transform.mean_file, *transform.mean_value
    return transform.scale, transform.standardize, means, *transform.std_value


def _stretched(values: Values) -> Values:
    least, greatest = values.min((1, 2, 3), keepdims=True), values.max((1, 2, 3), keepdims=True)
    stretched: Values = (values - least) / np.maximum(greatest - least, np.finfo(np.float32).tiny) * 255
    return stretched


def _centre(mean: Values | None, size: tuple[int, ...]) -> Values:
    """The middle of a mean image; the means of its channels where it is smaller than the images."""
    assert mean is not None
    offsets = [(whole - part) // 2 for whole, part in zip(mean.shape[1:], size, strict=True)]
    if min(offsets) < 0:
        return _of_channels(mean.mean((1, 2)))
    y, x = offsets
    return mean[:, y : y + size[0], x : x + size[1]]


def _of_channels(numbers: object) -> Values:
    return np.array(numbers, np.float32)[:, None, None]


def _whole(pixels: Values) -> NDArray[np.uint8]:
    return np.rint(np.nan_to_num(pixels)).clip(0, 255).astype(np.uint8)
