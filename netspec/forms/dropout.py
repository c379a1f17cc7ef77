"""Dropout with a mask of raw random bits."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from netspec.forms.base import Form, form
from netspec.layers.activation import Dropout
from netspec.layers.base import Layer, Shape

_LEAST_RATIO = 0.01
"""Nearer to 0 or 1 than this, 16 bits would miss a ratio by up to a thousandth of it, or more."""


@form("Dropout")
class RandomBits(Form):
    """A value is dropped where random bits, read as a number, lie below the ratio's share of all such numbers: 8 bits
    where they hit the ratio (0.5, 0.25), else 16, which miss it by at most 2^-17.

    The bits come from torch's generator, as the plain form's mask does; on a CPU that one draws every value by itself.
    """

    name = "bits"

    @classmethod
    def fits(cls, layers: Sequence[Layer], bottoms: Sequence[Shape]) -> bool:
        (dropout,) = layers
        return isinstance(dropout, Dropout) and _LEAST_RATIO <= dropout.ratio <= 1 - _LEAST_RATIO

    def forward(self, *bottoms: Tensor) -> Tensor:
        (x,) = bottoms
        (dropout,) = self.of
        assert isinstance(dropout, Dropout)
        if not (dropout.training or dropout.drops_in_test):
            y: Tensor = dropout(x)
            return y
        factor = 1 / (1 - dropout.ratio) if dropout.scale_train else 1.0
        return x * kept(x, dropout.ratio).to(x.dtype).mul_(factor)


def kept(x: Tensor, ratio: float) -> Tensor:
    """Integers in the shape and the memory format of x, each 0 with probability `ratio`, else 1."""
    dtype = torch.int8 if (ratio * 2**8).is_integer() else torch.int16
    range_ = torch.iinfo(dtype)
    words = torch.empty(-(-x.numel() * range_.bits // 64), dtype=torch.int64, device=x.device)
    words.random_(torch.iinfo(torch.int64).min, None)  # the only range that fills all 64 bits
    numbers = words.view(dtype)[: x.numel()].as_strided(x.shape, torch.empty_like(x).stride())
    return numbers.ge_(range_.min + round(ratio * 2**range_.bits))
