"""Brightness, contrast and saturation of BGR or grey images, drawn for each."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from netspec.data.draws import Draw, Draws
from netspec.data.operation import Numbers
from netspec.schema.netspec_pb2 import TransformationParameter

_GREY = (0.114, 0.587, 0.2989)  # of B, G, R: the weights of torchvision, from ITU-R BT.601


class Colour:
    """Brightness, then contrast, then saturation, with factors drawn for each image; each is cut off at 0 and 255, as
    torchvision's adjust_brightness, adjust_contrast and adjust_saturation do. Factors that can only be 1 cost nothing.
    """

    def __init__(self, param: TransformationParameter) -> None:
        self._ranges = _ranges(param)

    @staticmethod
    def wanted(param: TransformationParameter) -> bool:
        """Whether the message asks for any of it."""
        return bool(_ranges(param))

    def draw(self, draws: Draws) -> Numbers:
        """Factors (N, K)."""
        return np.stack([draws.uniform(draw, *ends) for draw, ends in self._ranges.items()], 1)

    def __call__(self, images: Tensor, factors: Tensor) -> Tensor:
        """Images (N, C, H, W) of 1 or 3 channels, overwritten."""
        for draw, factor in zip(self._ranges, factors.unbind(1), strict=True):
            images = _STEPS[draw](images, factor[:, None, None, None]).clamp_(0, 255)
        return images


def _ranges(param: TransformationParameter) -> dict[Draw, tuple[float, float]]:
    """Where factors are drawn from, of those that are not always 1."""
    ranges = {
        Draw.BRIGHTNESS: (param.brightness_min, param.brightness_max),
        Draw.CONTRAST: (param.contrast_min, param.contrast_max),
        Draw.SATURATION: (param.saturation_min, param.saturation_max),
    }
    return {draw: ends for draw, ends in ranges.items() if ends != (1, 1)}


def _brighten(images: Tensor, factor: Tensor) -> Tensor:
    return images.mul_(factor)


def _contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Blend with the mean of the grey image, which is the grey of the means."""
    means = images.mean((2, 3), keepdim=True)
    return images.mul_(factor).add_(_grey(means).mul_(1 - factor))


def _saturate(images: Tensor, factor: Tensor) -> Tensor:
    if images.shape[1] == 1:
        return images
    grey = _grey(images).mul_(1 - factor)
    return images.mul_(factor).add_(grey)


def _grey(images: Tensor) -> Tensor:
    """Images (N, 1, H, W); grey ones as they are."""
    if images.shape[1] == 1:
        return images
    blue, green, red = images.unbind(1)
    return (blue * _GREY[0]).add_(green, alpha=_GREY[1]).add_(red, alpha=_GREY[2])[:, None]


_STEPS = {Draw.BRIGHTNESS: _brighten, Draw.CONTRAST: _contrast, Draw.SATURATION: _saturate}
