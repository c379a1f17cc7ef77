"""Bilinear resizing as OpenCV computes it for 8-bit images, to the last bit: what Caffe's image layers resize with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netspec.data.datum import Pixels
from netspec.data.order import Indices

_ONE = 2048  # the unit of the weights


def resize(image: Pixels, height: int, width: int) -> Pixels:
    """A uint8 image (C, H, W) as (C, height, width); aspect is not kept.

    The rule of cv2.INTER_LINEAR: pixel centres lie at halves, each new pixel weighs the four around its centre, without
    antialias, in fixed-point arithmetic. Halving both sides exactly takes the rounded mean of four.
    """
    if image.shape[1:] == (height, width):
        return image
    top, bottom, below = _neighbours(image.shape[1], height)
    left, right, beside = _neighbours(image.shape[2], width)
    if image.shape[1:] == (2 * height, 2 * width):
        four = image.reshape(-1, height, 2, width, 2).sum((2, 4), dtype=np.int32)
        return _rounded(four)
    wide = image.astype(np.int32)
    rows = (wide[..., left] * (_ONE - beside) + wide[..., right] * beside) >> 4
    below = below[:, None]
    sums = (rows[:, top] * (_ONE - below) >> 16) + (rows[:, bottom] * below >> 16)
    return _rounded(sums)


def _rounded(quarters: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Whole pixels from their fourfold."""
    return ((quarters + 2) >> 2).astype(np.uint8)


def _neighbours(size: int, new_size: int) -> tuple[Indices, Indices, NDArray[np.int32]]:
    """For each new pixel the two old ones around its centre, and the weight of the second of them."""
    places = ((np.arange(new_size) + 0.5) * (size / new_size) - 0.5).astype(np.float32)
    first = np.floor(places)
    weights = np.rint((places - first) * _ONE).astype(np.int32)
    indices = first.astype(np.int64)
    return indices.clip(0, size - 1), (indices + 1).clip(0, size - 1), weights
