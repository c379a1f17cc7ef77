"""Concatenation of branches that end in ReLU, which write into its top."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from netspec.forms.base import Form, joining_form
from netspec.layers.activation import ReLU
from netspec.layers.base import Layer, Shape
from netspec.layers.shape import Concat


@joining_form("ReLU", "Concat")
class OneBuffer(Form):
    """What the branches make is read and written once, and not again to put it together."""

    name = "one_buffer"

    @classmethod
    def fits(cls, layers: Sequence[Layer], bottoms: Sequence[Shape]) -> bool:
        *branches, join = layers
        assert isinstance(join, Concat)
        return join.axis == 1 and not any(branch.negative_slope for branch in branches if isinstance(branch, ReLU))

    def forward(self, *bottoms: Tensor) -> Tensor:
        dtype = max((x.dtype for x in bottoms), key=lambda dtype: dtype.itemsize)
        y: Tensor = _JoinedReLU.apply(*(x.to(dtype) for x in bottoms))
        return y


class _JoinedReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *bottoms: Tensor) -> Tensor:
        first = bottoms[0]
        ctx.channels = [x.shape[1] for x in bottoms]
        shape = len(first), sum(ctx.channels), *first.shape[2:]
        top = torch.empty(shape, dtype=first.dtype, device=first.device, memory_format=_format(first))
        for x, part in zip(bottoms, torch.split(top, ctx.channels, 1), strict=True):
            torch.clamp_min(x, 0, out=part)
        ctx.save_for_backward(top)
        return top

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (top,) = ctx.saved_tensors
        parts = zip(torch.split(grad, ctx.channels, 1), torch.split(top, ctx.channels, 1), strict=True)
        return tuple(torch.ops.aten.threshold_backward(outer, y, 0) for outer, y in parts)


def _format(x: Tensor) -> torch.memory_format:
    """The memory format of a blob."""
    if x.is_contiguous():
        return torch.contiguous_format
    is_last = x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if is_last else torch.contiguous_format
