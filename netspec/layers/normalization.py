"""Normalisation: LRN by neighbours, BatchNorm by the batch's statistics."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from netspec.layers.axis import check_axes
from netspec.layers.base import Layer, LayerError, Shape, layer
from netspec.precision import all_in_float32
from netspec.schema.netspec_pb2 import FillerParameter, LayerParameter, LRNParameter

LEAST_EPS = sys.float_info.min
"""In place of eps 0, which PyTorch refuses: it vanishes beside any variance."""

_LEAST_NVIDIA_EPS = 1e-5
"""cuDNN takes no smaller one."""


@layer("LRN")
class LRN(Layer):
    """y = x (k + alpha / n sum x^2)^-beta over n neighbouring channels (Krizhevsky et al. 2012), zeros outside.

    ACROSS_CHANNELS is PyTorch's LocalResponseNorm. WITHIN_CHANNEL sums over n x n neighbours in the plane and divides
    by n^2, also at the border; it ignores `k` and uses 1. `alpha` is 1 by default, not 1e-4.
    """

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        lrn = param.lrn_param
        check_axes("LRN", bottoms[0], 4, 4)
        if lrn.local_size % 2 == 0:
            raise LayerError(f"local_size must be odd, not {lrn.local_size}", "lrn_param", "local_size")
        self.local_size, self.alpha, self.beta, self.k = int(lrn.local_size), lrn.alpha, lrn.beta, lrn.k
        self.within = lrn.norm_region == LRNParameter.WITHIN_CHANNEL

    def forward(self, x: Tensor) -> Tensor:
        return x * (self._scale_within(x) if self.within else self._scale_across(x)).pow(-self.beta)

    def _scale_across(self, x: Tensor) -> Tensor:
        with all_in_float32(x):
            return neighbour_sums(x * x, self.local_size, self.alpha / self.local_size, self.k)

    def _scale_within(self, x: Tensor) -> Tensor:
        reach = self.local_size // 2
        return 1 + self.alpha * F.avg_pool2d(x * x, self.local_size, 1, reach)


def neighbour_sums(x: Tensor, size: int, factor: float, offset: float) -> Tensor:
    """offset + factor times the sum over `size` neighbouring channels: a 1x1 convolution with a banded matrix, several
    times faster than pooling."""
    channels, reach = x.shape[1], size // 2
    band = x.new_full((channels, channels), factor).triu(-reach).tril(reach)
    return F.conv2d(x, band[:, :, None, None], x.new_full((channels,), offset))


@layer("BatchNorm")
class BatchNorm(Layer):
    """y = (x - mean) / sqrt(var + eps) a channel, with no affine part: that is Scale's (Ioffe and Szegedy 2015).

    State blobs: sums of means and of variances, both (C,), and their weight c (1,). Testing divides the sums by c;
    c = 0 makes mean and variance 0. Each training forward takes the batch's own statistics, multiplies the three blobs
    by `moving_average_fraction` and adds the mean, the unbiased variance and 1; PyTorch's momentum would be 1 / c.
    `use_global_stats` takes the sums in training too, and leaves them as they are.

    NVIDIA's and Intel's forks: with `scale_bias`, `use_weight_bias`, `scale_filler` or `bias_filler` two learned blobs
    follow, a slope (1 without a filler) and a bias, both (C,), and `eps` is never below 1e-5. Intel's `filler`
    alone asks for none.
    """

    needs_top = False
    takes_16_bits = True

    mean: Tensor
    variance: Tensor
    factor: Tensor
    slope: Tensor | None
    bias: Tensor | None

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        norm = param.batch_norm_param
        check_axes("BatchNorm", bottoms[0], 1)
        asked = norm.HasField("scale_filler") or (norm.HasField("bias_filler") and not norm.HasField("filler"))
        affine = norm.scale_bias or norm.use_weight_bias or asked
        self.use_global_stats: bool | None = norm.use_global_stats if norm.HasField("use_global_stats") else None
        if norm.eps < 0:
            raise LayerError(f"eps must not be negative, but is {norm.eps:g}", "batch_norm_param", "eps")
        self.fraction, self.eps = norm.moving_average_fraction, max(norm.eps, LEAST_EPS)
        # Files of three `param` blocks are common and always meant 0.
        if not affine and len(param.param) != 3 and any(spec.lr_mult for spec in param.param):
            raise LayerError("the statistics are not learned: lr_mult must be 0", "param", "lr_mult")
        channels = bottoms[0][1] if len(bottoms[0]) > 1 else 1
        for name, count in (("mean", channels), ("variance", channels), ("factor", 1)):
            self.add_blob(name, (count,), FillerParameter(), learnable=False)
        self.register_parameter("slope", None)
        self.register_parameter("bias", None)
        if affine:
            self.eps = max(self.eps, _LEAST_NVIDIA_EPS)
            name = next((name for name in ("scale_filler", "filler") if norm.HasField(name)), "")
            filler = getattr(norm, name) if name else FillerParameter(value=1)
            self.add_blob("slope", (channels,), filler)
            self.add_blob("bias", (channels,), norm.bias_filler)

    @property
    def is_global(self) -> bool:
        """Whether forward takes the sums, and not the batch's own statistics."""
        return not self.training if self.use_global_stats is None else self.use_global_stats

    def statistics(self) -> tuple[Tensor, Tensor]:
        """The mean and the variance that the sums stand for, both (C,)."""
        inverse = torch.where(self.factor == 0, 0, 1 / self.factor)
        return self.mean * inverse, self.variance * inverse

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() == 1:
            return self.normalize(x[:, None], self.slope, self.bias)[:, 0]
        return self.normalize(x, self.slope, self.bias)

    def normalize(self, x: Tensor, slope: Tensor | None, bias: Tensor | None) -> Tensor:
        """What forward does to at least two axes, with this slope and bias, both (C,) or None."""
        if self.is_global:
            return F.batch_norm(x, *self.statistics(), slope, bias, eps=self.eps)
        mean, variance = torch.zeros_like(self.mean), torch.zeros_like(self.variance)
        y = normalize_by_batch(x, mean, variance, slope, bias, self.eps)
        self._update(mean, variance)
        return y

    def _update(self, mean: Tensor, variance: Tensor) -> None:
        one = torch.ones_like(self.factor)
        for blob, new in ((self.mean, mean), (self.variance, variance), (self.factor, one)):
            torch.add(new, blob, alpha=self.fraction, out=blob)  # one kernel; `mul_` would make a tensor of its number

    @torch.no_grad()
    def loaded(self) -> str:
        if self.factor != 0 or not (self.mean.any() or self.variance.any()):
            return ""
        self.factor.fill_(1)
        return "statistics with the weight 0, as NVIDIA's fork writes them: the weight was set to 1"


def normalize_by_batch(
    x: Tensor, mean: Tensor | None, variance: Tensor | None, slope: Tensor | None, bias: Tensor | None, eps: float
) -> Tensor:
    """Batch normalization by the batch's own statistics; these are left in `mean` and `variance` (unbiased) where they
    are given, as zeros."""
    if x.numel() != x.shape[1]:
        # With momentum 1 PyTorch stores the batch's statistics alone.
        return F.batch_norm(x, mean, variance, slope, bias, training=True, momentum=1.0, eps=eps)
    # One value a channel is its own mean; PyTorch refuses to take its variance.
    if mean is not None:
        mean.copy_(x.detach().flatten())
    y = x * 0 if slope is None else x * 0 * _by_channel(slope, x)
    return y if bias is None else y + _by_channel(bias, x)


@layer("Normalize")
class Normalize(Layer):
    """y = s x / sqrt(sum x^2 + eps), of SSD's fork (Liu et al. 2016): the sum is over each item, or over the channels
    of each position where `across_spatial` is false.

    Blob: the scale s, a scalar, or (C,) where `channel_shared` is false; 1 without a filler. Unlike in PyTorch's
    F.normalize, eps is added under the root.
    """

    needs_top = False

    scale: Tensor

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        norm = param.norm_param
        check_axes("Normalize", bottoms[0], 2)
        self.axes = tuple(range(1, len(bottoms[0]))) if norm.across_spatial else (1,)
        self.eps = norm.eps
        filler = norm.scale_filler if norm.HasField("scale_filler") else FillerParameter(value=1)
        self.add_blob("scale", () if norm.channel_shared else (bottoms[0][1],), filler)

    def forward(self, x: Tensor) -> Tensor:
        root = torch.sqrt(x.square().sum(self.axes, keepdim=True) + self.eps)
        return x / root * _by_channel(self.scale, x)


def _by_channel(blob: Tensor, x: Tensor) -> Tensor:
    """A blob of one value, or of one for each channel, as it lies over x."""
    return blob.reshape(-1, *(1,) * (x.dim() - 2))
