"""LRN with its gradient in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from netspec.forms.base import Form, form
from netspec.layers.base import Layer, Shape
from netspec.layers.normalization import LRN, neighbour_sums


@form("LRN")
class ClosedGradient(Form):
    """Of y = x r, with r = s^-beta and s = k + alpha / n sum x^2, the gradient is g r - 2 alpha beta / n x sum g y / s
    over the same neighbours (Krizhevsky et al. 2012). It reuses r, where autograd takes a second power.

    It takes BF16, in which y is as exact as any blob.
    """

    name = "closed"

    def __init__(self, layers: Sequence[Layer]) -> None:
        super().__init__(layers)
        self.takes_16_bits = True

    @classmethod
    def fits(cls, layers: Sequence[Layer], bottoms: Sequence[Shape]) -> bool:
        (lrn,) = layers
        return isinstance(lrn, LRN) and not lrn.within

    def forward(self, *bottoms: Tensor) -> Tensor:
        (x,) = bottoms
        (lrn,) = self.of
        assert isinstance(lrn, LRN)
        x = x.float() if x.dtype == torch.float16 else x  # where squares soon overflow
        with torch.autocast(x.device.type, enabled=False):
            y: Tensor = _LRN.apply(x, lrn.local_size, lrn.alpha, lrn.beta, lrn.k)
        return y


class _LRN(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, size: int, alpha: float, beta: float, k: float) -> Tensor:
        scale = neighbour_sums(x * x, size, alpha / size, k)
        power = _negative_power(scale, beta)
        ctx.save_for_backward(x, scale, power)
        ctx.size, ctx.factor = size, 2 * alpha * beta / size
        return x * power

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None]:
        x, scale, power = ctx.saved_tensors
        direct = grad * power
        sums = neighbour_sums((direct * x).div_(scale), ctx.size, ctx.factor, 0)
        return torch.addcmul(direct, x, sums, value=-1), None, None, None, None


def _negative_power(scale: Tensor, beta: float) -> Tensor:
    """scale^-beta. Roots take much less time than powers, and nearly all nets have 0.75."""
    return (scale * scale.sqrt()).rsqrt_() if beta == 0.75 else scale.pow(-beta)
