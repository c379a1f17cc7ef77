"""Convolution as Caffe computes it on a CPU: a product of the weight with the patches under the window (im2col)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from netspec.forms.base import Form, form
from netspec.forms.precision import cast
from netspec.forms.product import rows, takes_images
from netspec.layers.base import Layer, Shape
from netspec.layers.convolution import Convolution

_LARGEST_MAP = 12 * 12
"""Of the top: beyond, making the patches costs more than it saves."""

_LARGEST_GREY_MAP = 32 * 32
"""The same for images of one channel, which convolution kernels are slow at."""

_MOST_GROUPS = 4


@form("Convolution")
class Patches(Form):
    """The patches serve the top and the weight's gradient, which convolution kernels are slow at on small maps; the
    bottom's gradient is a convolution as ever. They take kernel area times the bottom's memory until backward."""

    name = "patches"

    @classmethod
    def fits(cls, layers: Sequence[Layer], bottoms: Sequence[Shape]) -> bool:
        (layer,) = layers
        assert isinstance(layer, Convolution)
        is_window = layer.kernel != (1, 1) and layer.dilation == (1, 1) and layer.group <= _MOST_GROUPS
        if not (is_window and takes_images(layer, bottoms)):
            return False
        sizes = zip(bottoms[0][2:], layer.pad, layer.kernel, layer.stride, strict=True)
        places = math.prod((size + 2 * pad - kernel) // stride + 1 for size, pad, kernel, stride in sizes)
        return places <= (_LARGEST_GREY_MAP if bottoms[0][1] == layer.group else _LARGEST_MAP)

    def forward(self, *bottoms: Tensor) -> Tensor:
        (x,) = bottoms
        (layer,) = self.of
        assert isinstance(layer, Convolution)
        x, weight, bias = cast(x, layer.weight, layer.bias)
        y: Tensor = _PatchConvolution.apply(x, weight, bias, layer.stride, layer.pad, layer.group)
        return y


class _PatchConvolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Sequence[int], pad: Sequence[int], group: int
    ) -> Tensor:
        windows = _windows(x, weight.shape[2:], stride, pad, group)
        number, height, width = windows.shape[1:4]
        patches = _patches(windows)
        kernels = weight.permute(0, 2, 3, 1).reshape(group, -1, patches.shape[2]).mT
        shape = number, len(weight), height, width
        top = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
        if bias is None:
            torch.bmm(patches, kernels, out=_by_group(rows(top), group))
        else:
            torch.baddbmm(bias.view(group, 1, -1), patches, kernels, out=_by_group(rows(top), group))
        ctx.save_for_backward(x, weight, patches)
        ctx.settings = stride, pad, (1, 1), False, (0, 0), group
        return top  # no view, so that a ReLU may overwrite it

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, patches = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad[:3]
        grads: list[Tensor | None] = [None] * 6
        outer = rows(grad)
        if of_x:
            needed = True, False, False
            grads[0] = torch.ops.aten.convolution_backward(grad, x, weight, None, *ctx.settings, needed)[0]
        if of_weight:
            kernels = _product(_by_group(outer, len(patches)), patches)
            grads[1] = kernels.reshape(len(weight), *weight.shape[2:], weight.shape[1]).permute(0, 3, 1, 2)
        if of_bias:
            grads[2] = outer.sum(0)
        return tuple(grads)


def _by_group(rows: Tensor, group: int) -> Tensor:
    """A view of rows (places, C) by the groups of the channels: (group, places, C / group)."""
    return rows.view(len(rows), group, -1).transpose(0, 1)


def _patches(windows: Tensor) -> Tensor:
    """The patches of windows, one a row: (group, places, values). Those of one channel are copied by the values, since
    what lies side by side in memory is then longer."""
    group, channels = len(windows), windows.shape[-1]
    if channels > 1:
        return windows.reshape(group, windows.shape[1:4].numel(), -1)
    return windows.permute(0, 4, 5, 6, 1, 2, 3).reshape(group, windows.shape[4:].numel(), -1).mT


def _product(outer: Tensor, patches: Tensor) -> Tensor:
    """The gradient of the kernels (group, C, values), with the shorter axis first, which is the faster way."""
    if patches.shape[2] < outer.shape[2]:
        return torch.bmm(patches.mT, outer).mT
    return torch.bmm(outer.mT, patches)


def _windows(x: Tensor, kernel: Sequence[int], stride: Sequence[int], pad: Sequence[int], group: int) -> Tensor:
    """A view of what lies under the window at each of its places, by the groups of the channels:
    (group, N, H', W', kernel_h, kernel_w, C / group)."""
    padded = F.pad(x, (pad[1], pad[1], pad[0], pad[0])).permute(0, 2, 3, 1)
    number, height, width, channels = padded.shape
    places = (height - kernel[0]) // stride[0] + 1, (width - kernel[1]) // stride[1] + 1
    of_number, of_row, of_column, of_channel = padded.stride()
    shape = group, number, *places, *kernel, channels // group
    strides = of_number, stride[0] * of_row, stride[1] * of_column, of_row, of_column, of_channel
    return padded.as_strided(shape, (channels // group * of_channel, *strides))
