"""Pooling: the largest, the mean or a random value of each window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from netspec.layers.axis import check_axes
from netspec.layers.base import Layer, LayerError, Shape, layer
from netspec.layers.window import PAIRS, per_axis
from netspec.schema.netspec_pb2 import LayerParameter, PoolingParameter

PATH = "pooling_param"


@dataclass(frozen=True)
class Sweep:
    """The way of a window along one axis of `size` values: it stops `count` times."""

    size: int
    kernel: int
    stride: int
    pad: int
    count: int

    @property
    def beyond(self) -> int:
        """How far the last window reaches past the last value; negative where it ends before."""
        return (self.count - 1) * self.stride - self.pad + self.kernel - self.size

    @property
    def is_torch(self) -> bool:
        """Whether PyTorch's pooling takes this padding and stops as often: it drops a last window that is empty."""
        return 2 * self.pad <= self.kernel and (self.count - 1) * self.stride < self.size + self.pad

    def extents(self, x: Tensor) -> Tensor:
        """How much of each window lies inside size + pad, on the device of `x`; not above 0 where it is empty."""
        start = torch.arange(self.count, device=x.device) * self.stride - self.pad
        return (start + self.kernel).clamp(max=self.size + self.pad) - start


@layer("Pooling", bottoms=1, tops=(1, 2))
class Pooling(Layer):
    """MAX, AVE or STOCHASTIC over windows of an (N, C, H, W) bottom; by default the last window may hang over.

    Size: ceil((H + 2 pad - kernel) / stride) + 1; where any axis is padded, less the window that starts past H + pad.
    AVE divides by the window's area inside H + pad, so padding counts and overhang does not. A second top of MAX is the
    place h * W + w of each maximum, as float32. Unlike in PyTorch, pad may exceed kernel / 2, and a stride larger than
    the kernel may leave an unpadded last window empty: -FLT_MAX (place -1) for MAX, 0 / 0 for AVE.
    STOCHASTIC (Zeiler and Fergus 2013) draws a value with its own size as weight in training, and takes the
    mean with these weights in testing; values must not be negative.
    """

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        pooling = param.pooling_param
        check_axes("Pooling", bottoms[0], 4, 4)
        self.method = int(pooling.pool)
        self.takes_16_bits = self.method != PoolingParameter.STOCHASTIC
        self.mask = len(param.top) > 1
        self.is_global = bool(pooling.global_pooling)
        self.ceil = _rounds_up(pooling)
        self.kernel = _kernel(pooling, bottoms[0])
        self.stride = per_axis(pooling, "stride", 2, 1, PATH)
        self.pad = per_axis(pooling, "pad", 2, 0, PATH)
        self._check()
        self.rows, self.columns = (self._sweep(bottoms[0], axis) for axis in (0, 1))
        self.is_torch = self.rows.is_torch and self.columns.is_torch

    def _check(self) -> None:
        if self.mask and self.method != PoolingParameter.MAX:
            raise LayerError("only MAX pooling has a second top", "top")
        if self.is_global and (any(self.pad) or self.stride != (1, 1)):
            raise LayerError("global_pooling takes no pad and no stride but 1", PATH, "global_pooling")
        if any(self.pad) and self.method == PoolingParameter.STOCHASTIC:
            raise LayerError("STOCHASTIC pooling takes no pad", PATH, "pad")
        for pad, kernel in zip(self.pad, self.kernel, strict=True):
            if pad >= kernel:
                raise LayerError(f"pad {pad} must be smaller than kernel {kernel}", PATH, "pad")

    def _sweep(self, bottom: Shape, axis: int) -> Sweep:
        size, kernel, stride, pad = bottom[2 + axis], self.kernel[axis], self.stride[axis], self.pad[axis]
        room = size + 2 * pad - kernel
        count = (-(-room // stride) if self.ceil else room // stride) + 1
        if any(self.pad) and (count - 1) * stride >= size + pad:
            count -= 1
        if count < 1:
            raise LayerError(f"kernel {kernel} is larger than the padded input {size + 2 * pad}", PATH, "kernel_size")
        return Sweep(size, kernel, stride, pad, count)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        if self.method == PoolingParameter.STOCHASTIC:
            return self._stochastic(x)
        if self.method == PoolingParameter.AVE:
            return self._average(x)
        return self._max_and_place(x) if self.mask else self._max(x)

    def _max(self, x: Tensor) -> Tensor:
        if self.is_torch:
            return F.max_pool2d(x, self.kernel, self.stride, self.pad, ceil_mode=self.ceil)
        return F.max_pool2d(self._padded(x, torch.finfo(x.dtype).min), self.kernel, self.stride)

    def _max_and_place(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.is_torch:
            y, place = F.max_pool2d_with_indices(x, self.kernel, self.stride, self.pad, ceil_mode=self.ceil)
            return y, place.to(torch.float32)
        padded = self._padded(x, torch.finfo(x.dtype).min)
        y, place = F.max_pool2d_with_indices(padded, self.kernel, self.stride)
        height, width = x.shape[2:]
        row, column = place // padded.shape[3] - self.rows.pad, place % padded.shape[3] - self.columns.pad
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        return y, torch.where(inside, row * width + column, -1).to(torch.float32)

    def _average(self, x: Tensor) -> Tensor:
        if self.is_global:
            return x.mean((2, 3), keepdim=True)
        if self.is_torch:
            return F.avg_pool2d(x, self.kernel, self.stride, self.pad, ceil_mode=self.ceil)
        total = F.avg_pool2d(self._padded(x, 0), self.kernel, self.stride, divisor_override=1)
        return total / (self.rows.extents(x)[:, None] * self.columns.extents(x))

    def _stochastic(self, x: Tensor) -> Tensor:
        windows = self._padded(x, 0).unfold(2, self.kernel[0], self.stride[0]).unfold(3, self.kernel[1], self.stride[1])
        values = windows.flatten(-2)
        if not self.training:
            total = values.sum(-1)
            return values.square().sum(-1) / total.where(total > 0, torch.inf)
        sums = values.detach().cumsum(-1)
        # 1 - rand lies in (0, 1]: a value of 0 is never drawn while there is a larger one.
        threshold = sums[..., -1:] * (1 - torch.rand_like(sums[..., -1:]))
        drawn = (sums < threshold).sum(-1, keepdim=True).clamp(max=values.shape[-1] - 1)
        return values.gather(-1, drawn).squeeze(-1)

    def _padded(self, x: Tensor, value: float) -> Tensor:
        """The bottom padded in front, and behind to exactly the end of the last window (or cut there)."""
        return F.pad(x, (self.columns.pad, self.columns.beyond, self.rows.pad, self.rows.beyond), value=value)


def _rounds_up(pooling: PoolingParameter) -> bool:
    """What `round_mode` says, or the forks' `ceil_mode`."""
    if not pooling.HasField("ceil_mode"):
        return bool(pooling.round_mode == PoolingParameter.CEIL)
    if pooling.HasField("round_mode"):
        raise LayerError("give round_mode or ceil_mode, not both", PATH, "ceil_mode")
    return pooling.ceil_mode


def _kernel(pooling: PoolingParameter, bottom: Shape) -> tuple[int, ...]:
    if not pooling.global_pooling:
        return per_axis(pooling, "kernel_size", 2, None, PATH)
    for field in ("kernel_size", *PAIRS["kernel_size"]):
        if pooling.HasField(field):
            raise LayerError(f"global_pooling takes no {field}", PATH, field)
    return tuple(bottom[2:])
