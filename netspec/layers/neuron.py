"""Functions of each value by itself: AbsVal, BNLL, Clip, Exp, Log, Power, Swish, Threshold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from netspec.layers.base import Layer, LayerError, Shape, layer
from netspec.schema.netspec_pb2 import LayerParameter


@layer("AbsVal")
class AbsVal(Layer):
    """y = |x|, with gradient sign(x): 0 at 0. Not in place. PyTorch: the same as torch.abs."""

    needs_top = False
    takes_16_bits = True

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        if set(param.top) & set(param.bottom):
            raise LayerError("AbsVal does not work in place: give its top another name", "top")

    def forward(self, x: Tensor) -> Tensor:
        return x.abs()


@layer("BNLL")
class BNLL(Layer):
    """y = log(1 + exp(x)), the binomial normal log likelihood. PyTorch: the same as softplus with beta 1."""

    needs_top = False

    def forward(self, x: Tensor) -> Tensor:
        return F.softplus(x, threshold=50)


@layer("Clip")
class Clip(Layer):
    """y = max(min, min(x, max)); `min` and `max` must be given.

    Unlike in PyTorch's clamp, a value equal to a bound passes its gradient in every version, and where `min` exceeds
    `max` every y is `min`.
    """

    needs_top = False
    takes_16_bits = True

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        clip = param.clip_param
        if not (clip.HasField("min") and clip.HasField("max")):
            raise LayerError("min and max must be given", "clip_param")
        self.min, self.max = clip.min, clip.max

    def forward(self, x: Tensor) -> Tensor:
        x = x.masked_fill(x > self.max, self.max)
        return x.masked_fill(x < self.min, self.min)


@layer("Exp")
class Exp(Layer):
    """y = base ^ (shift + scale x); base -1, the default, is e, scale 1, shift 0. PyTorch: as torch.exp by default."""

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        log_base = _log_base(param.exp_param.base, "exp_param")
        self.scale, self.shift = log_base * param.exp_param.scale, log_base * param.exp_param.shift

    def forward(self, x: Tensor) -> Tensor:
        return torch.exp(_scaled(x, self.scale, self.shift))


@layer("Log")
class Log(Layer):
    """y = log_base(shift + scale x); base -1, the default, is e, scale 1, shift 0. PyTorch: as torch.log by default."""

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        self.scale, self.shift = param.log_param.scale, param.log_param.shift
        self.log_base = _log_base(param.log_param.base, "log_param")
        if self.log_base == 0:
            raise LayerError("base must not be 1, whose logarithm is 0", "log_param", "base")

    def forward(self, x: Tensor) -> Tensor:
        y = torch.log(_scaled(x, self.scale, self.shift))
        return y if self.log_base == 1 else y / self.log_base


@layer("Power")
class Power(Layer):
    """y = (shift + scale x) ^ power; power and scale are 1 by default, shift 0.

    Where power or scale is 0, y is a constant and passes no gradient, not even NaN. Unlike in PyTorch, the gradient is
    power scale y / (shift + scale x) for every power but 1 and 2: NaN where that base is 0 and the power above 0.
    """

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        power = param.power_param
        self.power, self.scale, self.shift = power.power, power.scale, power.shift

    def forward(self, x: Tensor) -> Tensor:
        if not self.power * self.scale:
            # Filled and not multiplied by 0, so that an infinite x leaves no NaN in either pass.
            return x.masked_fill(torch.ones_like(x, dtype=torch.bool), self.shift).pow(self.power)
        base = _scaled(x, self.scale, self.shift)
        if self.power == 1:
            return base
        y: Tensor = base.square() if self.power == 2 else _Power.apply(base, self.power)
        return y


class _Power(torch.autograd.Function):
    """base ^ power, with Caffe's quotient as gradient."""

    @staticmethod
    def forward(ctx: Any, base: Tensor, power: float) -> Tensor:
        y = base.pow(power)
        ctx.save_for_backward(base, y)
        ctx.power = power
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        base, y = ctx.saved_tensors
        return grad * (y / base * ctx.power), None


@layer("Swish")
class Swish(Layer):
    """y = x sigmoid(beta x) (Ramachandran et al. 2017); beta is 1 by default. PyTorch: as F.silu with that beta."""

    needs_top = False
    takes_16_bits = True

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        self.beta = param.swish_param.beta

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(x) if self.beta == 1 else x * torch.sigmoid(self.beta * x)


@layer("Threshold")
class Threshold(Layer):
    """y = 1 where x > threshold (default 0), else 0; passes no gradient.

    Unlike in PyTorch, where F.threshold keeps the values above.
    """

    needs_top = False
    takes_16_bits = True

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        self.threshold = param.threshold_param.threshold

    def forward(self, x: Tensor) -> Tensor:
        return (x > self.threshold).to(x.dtype)


def _log_base(base: float, path: str) -> float:
    """The natural logarithm of a base, where -1 stands for e."""
    if base == -1:
        return 1.0
    if not 0 < base < math.inf:
        raise LayerError(f"base must be above 0, or -1 for e, not {base:g}", path, "base")
    return math.log(base)


def _scaled(x: Tensor, scale: float, shift: float) -> Tensor:
    """shift + scale x, without the operations that change nothing."""
    x = x if scale == 1 else x * scale
    return x if shift == 0 else x + shift
