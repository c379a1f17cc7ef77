"""What is computed from many values at once: MVN, Reduction, ArgMax."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from netspec.layers.axis import canonical_axis, check_axes
from netspec.layers.base import Layer, LayerError, Shape, layer
from netspec.schema.netspec_pb2 import LayerParameter, ReductionParameter


@layer("MVN")
class MVN(Layer):
    """y = (x - mean) / (sqrt(var) + eps), the statistics of each channel of each item, or of each item with
    `across_channels`; y = x - mean without `normalize_variance`.

    Bottom of up to 4 axes; top (N, C, H, W), where an axis that the bottom lacks has size 1. Unlike in PyTorch's
    InstanceNorm, eps (default 1e-9) stands outside the root. The gradient, too, divides by sqrt(var) + eps only: it
    stays finite where all values are equal.
    """

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        check_axes("MVN", bottoms[0], 0, 4)
        mvn = param.mvn_param
        self.dims = (1, 2, 3) if mvn.across_channels else (2, 3)
        self.normalize_variance = bool(mvn.normalize_variance)
        self.eps = mvn.eps

    def forward(self, x: Tensor) -> Tensor:
        x = x.reshape(x.shape + (1,) * (4 - x.dim()))
        if not self.normalize_variance:
            return x - x.mean(self.dims, keepdim=True)
        y: Tensor = _Normalize.apply(x, self.dims, self.eps)
        return y


class _Normalize(torch.autograd.Function):
    """Mean 0 and variance 1 over `dims`. Autograd's own gradient would be NaN where all values are equal."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dims: tuple[int, ...], eps: float) -> Tensor:
        centred = x - x.mean(dims, keepdim=True)
        deviation = centred.square().mean(dims, keepdim=True).sqrt() + eps
        y = centred / deviation
        ctx.save_for_backward(y, deviation)
        ctx.dims = dims
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        y, deviation = ctx.saved_tensors
        along = y * (grad * y).mean(ctx.dims, keepdim=True)
        return (grad - grad.mean(ctx.dims, keepdim=True) - along) / deviation, None, None


@layer("Reduction")
class Reduction(Layer):
    """y = coeff times the SUM, the ASUM (sum of |x|), the SUMSQ (sum of x^2) or the MEAN over `axis` and all after it.

    Top shape[:axis]; by default axis is 0, the operation SUM and the top a scalar. Unlike in PyTorch, one axis alone
    cannot be reduced unless it is the last.
    """

    needs_top = False

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        reduction = param.reduction_param
        self.axis = canonical_axis(reduction.axis, bottoms[0], "reduction_param", "axis")
        self.operation, self.coeff = int(reduction.operation), reduction.coeff

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(self.axis)
        if self.operation == ReductionParameter.ASUM:
            x = x.abs()
        elif self.operation == ReductionParameter.SUMSQ:
            x = x.square()
        y = x.mean(-1) if self.operation == ReductionParameter.MEAN else x.sum(-1)
        return y if self.coeff == 1 else y * self.coeff


@layer("ArgMax")
class ArgMax(Layer):
    """The indices of the `top_k` (default 1) largest values, as floats, best first; passes no gradient.

    With `axis`, along it: top as the bottom but top_k long there, the values in place of the indices with
    `out_max_val`. Without, over all axes after the first as one: top (N, 1, top_k), with `out_max_val` (N, 2, top_k),
    indices before values; axes of size 1 follow until it has as many as the bottom.
    Unlike in PyTorch, of equal values the one with the larger index comes first.
    """

    needs_top = False

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        argmax = param.argmax_param
        check_axes("ArgMax", bottoms[0], 1)
        self.axis: int | None = None
        if argmax.HasField("axis"):
            self.axis = canonical_axis(argmax.axis, bottoms[0], "argmax_param", "axis")
        self.size = math.prod(bottoms[0][1:]) if self.axis is None else bottoms[0][self.axis]
        self.top_k, self.out_max_val = int(argmax.top_k), bool(argmax.out_max_val)
        if not 1 <= self.top_k <= self.size:
            raise LayerError(
                f"top_k must be from 1 to the {self.size} values, not {self.top_k}", "argmax_param", "top_k"
            )

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        if self.axis is not None:
            indices, values = self._best(x, self.axis)
            return values if self.out_max_val else indices
        best = self._best(x.reshape(x.shape[0], self.size), 1)
        top = torch.stack(best if self.out_max_val else best[:1], 1)
        return top.reshape(top.shape + (1,) * (x.dim() - 3))

    def _best(self, x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
        """The indices and the values of the largest along an axis. Turned round, the last of equals is the first."""
        x = x.flip(axis)
        values, places = x.max(axis, True) if self.top_k == 1 else x.sort(dim=axis, descending=True, stable=True)
        values, places = (found.narrow(axis, 0, self.top_k) for found in (values, places))
        return (self.size - 1 - places).to(x.dtype), values
