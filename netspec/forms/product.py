"""1x1 convolution as a product of matrices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from netspec.forms.base import Form, form
from netspec.forms.precision import cast
from netspec.layers.base import Layer, Shape
from netspec.layers.convolution import Convolution, at_stride

_LARGEST_MAP = 16 * 16
"""Beyond, convolution kernels are always the faster ones."""


@form("Convolution")
class Product(Form):
    """All positions, as rows of their channels, times the weight. In channels-last memory the rows lie ready."""

    name = "product"

    @classmethod
    def fits(cls, layers: Sequence[Layer], bottoms: Sequence[Shape]) -> bool:
        (layer,) = layers
        assert isinstance(layer, Convolution)
        if not takes_images(layer, bottoms) or math.prod(bottoms[0][2:]) > _LARGEST_MAP:
            return False
        return layer.kernel == (1, 1) and layer.pad == (0, 0) and layer.group == 1

    def forward(self, *bottoms: Tensor) -> Tensor:
        (layer,) = self.of
        assert isinstance(layer, Convolution)
        x, weight, bias = cast(bottoms[0], layer.weight, layer.bias)
        if layer.stride != (1, 1):
            x = at_stride(x, layer.stride, torch.channels_last)
        y: Tensor = _RowProduct.apply(x, weight, bias)
        return y


class _RowProduct(torch.autograd.Function):
    """Few and plain operations: on small maps they are what takes the time."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        number, channels, height, width = x.shape
        shape = number, len(weight), height, width
        top = torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)
        kernels = weight.view(-1, channels).t()
        if bias is None:
            torch.mm(rows(x), kernels, out=rows(top))
        else:
            torch.addmm(bias, rows(x), kernels, out=rows(top))
        return top  # no view, so that a ReLU may overwrite it

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        number, channels, height, width = x.shape
        outer = rows(grad)
        below = torch.mm(outer, weight.view(-1, channels)).view(number, height, width, channels) if of_x else None
        return (
            None if below is None else below.permute(0, 3, 1, 2),
            torch.mm(outer.t(), rows(x)).view(weight.shape) if of_weight else None,
            outer.sum(0) if of_bias else None,
        )


def rows(x: Tensor) -> Tensor:
    """(N, C, H, W) as a matrix with a row for each place; a view where the memory is channels-last."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def takes_images(layer: Convolution, bottoms: Sequence[Shape]) -> bool:
    """Whether a convolution has one bottom, of images (N, C, H, W)."""
    return len(bottoms) == 1 and len(bottoms[0]) == 4 and layer.axis == 1
