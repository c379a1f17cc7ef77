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
from netspec.layers.convolution import Convolution

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
        x = x.permute(0, 2, 3, 1)[:, :: layer.stride[0], :: layer.stride[1]]
        y: Tensor = _RowProduct.apply(rows_of(x), weight.flatten(1)[None], bias, x.shape[:3])
        return y


class _RowProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, kernels: Tensor, bias: Tensor | None, places: Sequence[int]) -> Tensor:
        ctx.save_for_backward(rows, kernels)
        return top_of(rows, kernels, bias, places)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, kernels = ctx.saved_tensors
        of_rows, of_kernels, of_bias = ctx.needs_input_grad[:3]
        outer = rows_of(grad.permute(0, 2, 3, 1))
        return (
            multiply(outer, kernels) if of_rows else None,
            multiply(outer.mT, rows) if of_kernels else None,
            grad.sum((0, 2, 3)) if of_bias else None,
            None,
        )


def takes_images(layer: Convolution, bottoms: Sequence[Shape]) -> bool:
    """Whether a convolution has one bottom, of images (N, C, H, W)."""
    return len(bottoms) == 1 and len(bottoms[0]) == 4 and layer.axis == 1


def rows_of(x: Tensor, group: int = 1) -> Tensor:
    """(N, H, W, ..., C) as one matrix a group, with a row for each place: (group, N H W, ... C / group)."""
    parts = x.view(*x.shape[:-1], group, x.shape[-1] // group)
    return parts.movedim(-2, 0).flatten(1, 3).flatten(2)


def top_of(rows: Tensor, kernels: Tensor, bias: Tensor | None, places: Sequence[int]) -> Tensor:
    """(group, N H W, K) times (group, O / group, K), as a top (N, O, H, W) in channels-last memory; `places` are
    N, H, W. It is no view, so that a ReLU may overwrite it."""
    group, number, height, width = len(kernels), *places
    shape = number, group * kernels.shape[1], height, width
    top = torch.empty(shape, dtype=rows.dtype, device=rows.device, memory_format=torch.channels_last)
    multiply(rows, kernels.mT, rows_of(top.permute(0, 2, 3, 1), group))
    return top if bias is None else top.add_(bias[:, None, None])


def multiply(a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
    """The product of the matrices of each group. One after the other: as a batch they are slower in BF16."""
    out = a.new_empty((len(a), a.shape[1], b.shape[2])) if out is None else out
    for group in range(len(a)):
        torch.mm(a[group], b[group], out=out[group])
    return out
