"""BN: the batch normalisation of forks, which knew two layers by this name."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from netspec.layers.axis import check_axes
from netspec.layers.base import Layer, LayerError, Shape, layer
from netspec.layers.normalization import LEAST_EPS, normalize_by_batch
from netspec.schema.netspec_pb2 import BNParameter, FillerParameter, LayerParameter

_SEGNETS, _PSPNETS = ("scale_filler", "shift_filler", "bn_mode"), ("slope_filler", "bias_filler", "momentum", "frozen")
"""Fields of either fork."""

_SEGNET_EPS = 1e-9


@layer("BN")
class BN(Layer):
    """y = s (x - mean) / sqrt(var + eps) + b a channel, of forks: PSPNet's, TSN's and ICNet's, or SegNet's.

    PSPNet's: blobs slope s, bias b, mean and variance, all (1, C), all 0 without fillers. Each training forward takes
    the batch's statistics and moves the stored ones: new = momentum old + (1 - momentum) batch, the variance biased;
    testing, or `frozen`, takes the stored ones, and `frozen` learns nothing. Unlike in PyTorch momentum is the part
    that is kept, and the stored variance is biased.

    SegNet's (where `scale_filler`, `shift_filler` or `bn_mode` is given): blobs s and b, (1, C, 1, 1). LEARN takes the
    batch's statistics in testing too, eps is 1e-9; INFERENCE is y = s x + b.
    """

    needs_top = False
    takes_16_bits = True

    slope: Tensor
    bias: Tensor
    mean: Tensor
    variance: Tensor

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        bn = param.bn_param
        check_axes("BN", bottoms[0], 2)
        channels = bottoms[0][1]
        self.is_segnet = any(map(bn.HasField, _SEGNETS))
        if self.is_segnet and (strange := [field for field in _PSPNETS if bn.HasField(field)]):
            ours = next(filter(bn.HasField, _SEGNETS))
            raise LayerError(f"{ours} is of SegNet's fork, {strange[0]} of PSPNet's", "bn_param", strange[0])
        self.is_folded = self.is_segnet and bn.bn_mode == BNParameter.INFERENCE
        if self.is_segnet:
            self.frozen, self.eps, self.momentum = False, _SEGNET_EPS, 0.0
            self.add_blob("slope", (1, channels, 1, 1), bn.scale_filler)
            self.add_blob("bias", (1, channels, 1, 1), bn.shift_filler)
            return
        if not 0 <= bn.momentum <= 1:
            raise LayerError(f"momentum must be from 0 to 1, not {bn.momentum:g}", "bn_param", "momentum")
        if bn.eps < 0:
            raise LayerError(f"eps must not be negative, but is {bn.eps:g}", "bn_param", "eps")
        self.frozen, self.eps, self.momentum = bn.frozen, max(bn.eps, LEAST_EPS), bn.momentum
        self.add_blob("slope", (1, channels), bn.slope_filler, learnable=not self.frozen)
        self.add_blob("bias", (1, channels), bn.bias_filler, learnable=not self.frozen)
        self.add_blob("mean", (1, channels), FillerParameter(), learnable=False)
        self.add_blob("variance", (1, channels), FillerParameter(value=float(self.frozen)), learnable=False)

    def forward(self, x: Tensor) -> Tensor:
        slope, bias = self.slope.flatten(), self.bias.flatten()
        if self.is_folded:
            shape = (-1, *(1,) * (x.dim() - 2))
            return torch.addcmul(bias.reshape(shape), x, slope.reshape(shape))
        if not self.is_segnet and (self.frozen or not self.training):
            return F.batch_norm(x, self.mean.flatten(), self.variance.flatten(), slope, bias, eps=self.eps)
        if not self.is_segnet:
            self._move_statistics(x)
        return normalize_by_batch(x, None, None, slope, bias, self.eps)

    @torch.no_grad()
    def _move_statistics(self, x: Tensor) -> None:
        x = x.to(self.mean.dtype)
        variance, mean = torch.var_mean(x, [axis for axis in range(x.dim()) if axis != 1], correction=0)
        for blob, new in ((self.mean, mean), (self.variance, variance)):
            blob.mul_(self.momentum).add_(new, alpha=1 - self.momentum)
