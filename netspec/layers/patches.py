"""Layers that cut the spatial axes into windows: Im2col and SPP."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from netspec.layers.axis import canonical_axis, check_axes
from netspec.layers.base import Layer, LayerError, Shape, layer
from netspec.layers.pooling import Pooling
from netspec.layers.window import per_axis
from netspec.schema.netspec_pb2 import LayerParameter, PoolingParameter, SPPParameter

CONVOLUTION = "convolution_param"


@layer("Im2col")
class Im2col(Layer):
    """Every window that a convolution with this `convolution_param` would see, laid out along the channels.

    Bottom (N, C, H, W), top (N, C kernel_h kernel_w, H', W') with the size of Convolution's top: a channel's values
    of the window follow one another row by row, then comes the next channel. Any number of spatial axes.
    Unlike in PyTorch's unfold, the top keeps its spatial axes, and `axis` names the channels.
    """

    takes_16_bits = True

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        conv = param.convolution_param
        self.axis = canonical_axis(conv.axis, bottoms[0], CONVOLUTION, "axis")
        sizes = bottoms[0][self.axis + 1 :]
        if not sizes:
            raise LayerError(f"no spatial axis follows axis {self.axis}", CONVOLUTION, "axis")
        kernels = per_axis(conv, "kernel_size", len(sizes), None, CONVOLUTION)
        self.strides = per_axis(conv, "stride", len(sizes), 1, CONVOLUTION)
        self.pads = per_axis(conv, "pad", len(sizes), 0, CONVOLUTION)
        self.dilations = per_axis(conv, "dilation", len(sizes), 1, CONVOLUTION)
        self.extents = tuple(d * (k - 1) + 1 for k, d in zip(kernels, self.dilations, strict=True))
        for size, pad, extent in zip(sizes, self.pads, self.extents, strict=True):
            if extent > size + 2 * pad:
                reason = f"the kernel spans {extent}, which is larger than the padded input {size + 2 * pad}"
                raise LayerError(reason, CONVOLUTION, "kernel_size")

    def forward(self, x: Tensor) -> Tensor:
        rank = x.dim()
        x = F.pad(x, [pad for pad in reversed(self.pads) for _ in range(2)])
        for axis, extent in enumerate(self.extents, self.axis + 1):
            i = axis - self.axis - 1
            x = x.unfold(axis, extent, self.strides[i])[..., :: self.dilations[i]]
        # The values of the windows are the last axes now; they belong behind the channels.
        x = x.movedim(tuple(range(rank, x.dim())), tuple(range(self.axis + 1, self.axis + 1 + x.dim() - rank)))
        return x.flatten(self.axis, self.axis + len(self.extents))


@layer("SPP")
class SPP(Layer):
    """Spatial pyramid pooling (He et al. 2014): level i pools (`pool`: MAX, AVE or STOCHASTIC) into 2^i x 2^i bins.

    Bottom (N, C, H, W), top (N, C (4^pyramid_height - 1) / 3): the levels flattened, one after the other; the one level
    of pyramid_height 1 stays (N, C, 1, 1). A level is a Pooling layer with kernel and stride ceil(H / bins) and pad
    ceil((kernel bins - H) / 2), so a level whose pad would reach its kernel is refused.
    Unlike in PyTorch's adaptive pooling, bins do not overlap and reach over the border.
    """

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        check_axes("SPP", bottoms[0], 4, 4)
        spp = param.spp_param
        if spp.pyramid_height < 1:
            raise LayerError("pyramid_height must be given and at least 1", "spp_param", "pyramid_height")
        self.levels = nn.ModuleList()
        for level in range(spp.pyramid_height):
            self.levels.append(_pooling(spp, 2**level, bottoms[0]))
        self.takes_16_bits = spp.pool != SPPParameter.STOCHASTIC

    def forward(self, x: Tensor) -> Tensor:
        tops = [level(x) for level in self.levels]
        return torch.cat([top.flatten(1) for top in tops], 1) if len(tops) > 1 else tops[0]


def _pooling(spp: SPPParameter, bins: int, bottom: Shape) -> Pooling:
    """The pooling of one level. LayerError where the bottom is too small for that many bins."""
    message = PoolingParameter(pool=PoolingParameter.PoolMethod.Name(spp.pool))
    for axis, size in zip("hw", bottom[2:], strict=True):
        kernel = math.ceil(size / bins)
        setattr(message, f"kernel_{axis}", kernel)
        setattr(message, f"stride_{axis}", kernel)
        setattr(message, f"pad_{axis}", (kernel * bins - size + 1) // 2)
    try:
        return Pooling(LayerParameter(pooling_param=message), [bottom])
    except LayerError as error:
        height, width = bottom[2:]
        reason = f"the level of {bins} x {bins} bins does not fit a bottom of {height} x {width}: {error.reason}"
        raise LayerError(reason, "spp_param", "pyramid_height") from None
