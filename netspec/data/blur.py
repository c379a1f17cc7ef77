"""Gaussian blur of images, its width drawn for each."""

from __future__ import annotations

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from netspec.data.draws import Draw, Draws, Floats
from netspec.data.operation import Numbers
from netspec.schema.netspec_pb2 import TransformationParameter


class Blur:
    """Convolve each image with a Gaussian of its own, over a square of `blur_kernel` pixels, the image reflected at its
    borders: torchvision's `gaussian_blur`, one image at a time, gives the same."""

    def __init__(self, param: TransformationParameter) -> None:
        self._size, self._low, self._high = param.blur_kernel, param.blur_sigma_min, param.blur_sigma_max

    def draw(self, draws: Draws) -> Numbers:
        """Kernels (N, blur_kernel) along one axis."""
        sigma = draws.uniform(Draw.SIGMA, self._low, self._high)
        places = np.arange(self._size) - self._size // 2
        kernels: Floats = np.exp(-0.5 * (places / sigma[:, None]) ** 2)
        kernels /= kernels.sum(1, keepdims=True)
        return kernels

    def __call__(self, images: Tensor, kernels: Tensor) -> Tensor:
        """Images of the same size. Each channel of each image is a group of one convolution, which takes less time than
        two along the axes for a kernel of 5."""
        count, channels, height, width = images.shape
        groups, size, pad = count * channels, self._size, self._size // 2
        squares = (kernels[:, :, None] * kernels[:, None]).repeat_interleave(channels, 0)
        images = F.pad(images, (pad,) * 4, mode="reflect").view(1, groups, height + 2 * pad, width + 2 * pad)
        return F.conv2d(images, squares.view(groups, 1, size, size), groups=groups).view(count, channels, height, width)
