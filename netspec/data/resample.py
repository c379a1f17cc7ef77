"""Resizing of images, whole or a part of each, with antialias where they get smaller: torchvision's rules."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from netspec.data.draws import Draw, Draws
from netspec.data.operation import Numbers
from netspec.data.order import Indices
from netspec.data.rectangles import Rectangles
from netspec.schema.netspec_pb2 import RandomResizedCropParameter, TransformationParameter

BILINEAR, NEAREST, BICUBIC = (
    TransformationParameter.BILINEAR,
    TransformationParameter.NEAREST,
    TransformationParameter.BICUBIC,
)
_MODES: dict[int, str] = {BILINEAR: "bilinear", NEAREST: "nearest-exact", BICUBIC: "bicubic"}
_ATTEMPTS = 10  # as many as torchvision makes before it takes the centre


class Resize:
    """Images (N, C, H, W) to a size (height, width); aspect is not kept. One operation of torch, which torchvision's
    `resize` calls too."""

    def __init__(self, size: tuple[int, int], interpolation: int) -> None:
        self.size, self._interpolation = size, interpolation

    def draw(self, draws: Draws) -> Numbers:
        """Nothing is drawn."""
        return np.empty((len(draws.positions), 0))

    def __call__(self, images: Tensor, numbers: Tensor | None = None) -> Tensor:
        """Float32 images of the new size."""
        images = images.to(torch.float32)
        if images.shape[2:] == self.size:
            return images
        antialias = self._interpolation != NEAREST
        images = F.interpolate(images, self.size, mode=_MODES[self._interpolation], antialias=antialias)
        return bounded(images, self._interpolation)


class RandomResizedCrop:
    """A part of each image, of random area, aspect and place, resized to size x size pixels (Szegedy et al. 2015).

    As in torchvision a part that would not fit is drawn again, up to ten times; then the largest in the centre whose
    aspect is allowed is taken, of one pixel at least. Resizing an axis is a product with a matrix of weights, so all
    images of a batch, each with a box of its own, take two matrix products.
    """

    def __init__(self, param: RandomResizedCropParameter, size: int, interpolation: int) -> None:
        self._size, self._interpolation = size, interpolation
        self._aspect = param.aspect_min, param.aspect_max
        area = param.area_min, param.area_max
        self._rectangles = Rectangles(Draw.CROP_AREA, area, Draw.CROP_ASPECT, self._aspect, _ATTEMPTS)

    def draw(self, draws: Draws, height: Indices, width: Indices) -> Numbers:
        """Boxes (N, 4), top, left, height and width in pixels, within images of a height and a width (N,)."""
        tall, wide, missing = self._rectangles.draw(draws, height, width, np.ones(len(height), np.bool_))
        top, left = draws.below(Draw.CROP_Y, height - tall + 1), draws.below(Draw.CROP_X, width - wide + 1)
        if missing.any():
            low, high = self._aspect
            tall = np.where(missing, np.clip(np.rint(width / low), 1, height), tall).astype(np.int64)
            wide = np.where(missing, np.clip(np.rint(height * high), 1, width), wide).astype(np.int64)
            top, left = np.where(missing, (height - tall) // 2, top), np.where(missing, (width - wide) // 2, left)
        return np.stack([top, left, tall, wide], 1)

    def __call__(self, images: Tensor, boxes: Tensor) -> Tensor:
        """Images (N, C, H, W) to float32 (N, C, size, size)."""
        top, left, tall, wide = boxes[:, :, None, None].unbind(1)
        rows, columns = self._weights(top, tall, images.shape[2]), self._weights(left, wide, images.shape[3])
        images = torch.matmul(rows[:, None], images.to(torch.float32))
        return bounded(torch.matmul(images, columns[:, None].transpose(2, 3)), self._interpolation)

    def _weights(self, first: Tensor, length: Tensor, pixels: int) -> Tensor:
        """The weight of each of an axis's pixels in each new pixel, (N, size, pixels); `first` and `length` (N, 1, 1)
        are those of the boxes."""
        old, new = (torch.arange(0.0, count, device=first.device) for count in (pixels, self._size))
        scale = length / self._size
        centres = torch.addcmul(first, new[:, None] + 0.5, scale)
        if self._interpolation == NEAREST:
            return (old == centres.floor()).to(torch.float32)
        distance = (old + 0.5 - centres).div_(scale.clamp(min=1)).abs_()
        weights = _cubic(distance) if self._interpolation == BICUBIC else (1 - distance).clamp_(min=0)
        weights *= (old >= first) & (old < first + length)
        return weights.div_(weights.sum(2, keepdim=True))


def _cubic(distance: Tensor) -> Tensor:
    """Keys's kernel with a = -0.5, as Pillow and torch's antialias take it."""
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return torch.where(distance < 1, near, torch.where(distance < 2, far, 0))


def bounded(images: Tensor, interpolation: int) -> Tensor:
    """Bicubic interpolation overshoots; back to 0 to 255."""
    return images.clamp_(0, 255) if interpolation == BICUBIC else images
