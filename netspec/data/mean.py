"""The mean image and its file, mean.binaryproto: one BlobProto."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from netspec.data.datum import Pixels
from netspec.errors import DataError, SnapshotError
from netspec.files import write_whole
from netspec.schema.netspec_pb2 import BlobProto

Mean = NDArray[np.float32]


class MeanImage:
    """The mean of images (C, H, W), and mean and deviation of their channels. Sums are in double precision: those of
    whole pixels are exact, so that their order does not matter."""

    def __init__(self) -> None:
        self.count = 0
        self._sum: NDArray[np.float64] | None = None
        self._squares: NDArray[np.float64] | None = None

    def add(self, image: Pixels) -> None:
        """Count one image in; DataError where its size is not that of the others."""
        if self._sum is None or self._squares is None:
            self._sum, self._squares = np.zeros(image.shape), np.zeros(len(image))
        if self._sum.shape != image.shape:
            raise DataError(f"an image of {image.shape} has no place in a mean of {self._sum.shape}")
        self._sum += image
        pixels = image.reshape(len(image), -1).astype(np.float64)
        self._squares += np.einsum("ci,ci->c", pixels, pixels)
        self.count += 1

    def value(self) -> Mean:
        """The mean so far, (C, H, W)."""
        return self._mean().astype(np.float32)

    def channels(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation of each channel over all its pixels so far, (C,) each."""
        means = self._mean().mean((1, 2))
        assert self._sum is not None and self._squares is not None
        variances = self._squares / (self.count * self._sum[0].size) - means**2
        return means, np.sqrt(variances.clip(0))

    def _mean(self) -> NDArray[np.float64]:
        if self._sum is None:
            raise DataError("the mean of no images")
        return self._sum / self.count


def compute_mean(images: Iterable[Pixels]) -> Mean:
    """The mean of images of one size (C, H, W)."""
    mean = MeanImage()
    for image in images:
        mean.add(image)
    return mean.value()


def write_mean(path: Path, mean: Mean) -> None:
    """Write a mean (C, H, W) with the four old dimensions, which every Caffe reads. DataError where it fails."""
    channels, height, width = mean.shape
    proto = BlobProto(num=1, channels=channels, height=height, width=width, data=mean.ravel())
    try:
        write_whole(path, proto.SerializeToString())
    except SnapshotError as error:
        raise DataError(str(error)) from None


def read_mean(path: Path) -> Mean:
    """The mean (C, H, W) of a file with old or new dimensions; DataError where it is not one."""
    try:
        proto = BlobProto.FromString(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: the mean file cannot be read: {error.strerror}") from None
    except DecodeError:
        raise DataError(f"{path} is no mean file: it does not parse as a BlobProto") from None
    shape = tuple(proto.shape.dim) or (proto.num, proto.channels, proto.height, proto.width)
    values = np.array(proto.data or proto.double_data, np.float32)
    if len(shape) == 4 and shape[0] == 1:
        shape = shape[1:]
    if len(shape) != 3 or min(shape) < 1 or values.size != math.prod(shape):
        raise DataError(f"{path} is no mean file: {values.size} numbers in the shape {shape}")
    return values.reshape(shape)
