"""Deconvolution: convolution turned round, as its backward pass runs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from netspec.layers.base import LayerError, layer
from netspec.layers.convolution import PATH, BaseConvolution

DECONVOLUTIONS = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


@layer("Deconvolution", bottoms=(1, None), tops=(1, None))
class Deconvolution(BaseConvolution):
    """Each value of a bottom lays the kernel, times itself, over its own top; `pad` is cut off each side.

    Size: stride (H - 1) + dilation (kernel - 1) + 1 - 2 pad. Weight (C, num_output / group, kernel...), bias
    (num_output,). All else is Convolution's. The filler `bilinear` fills every pair of channels, so upsampling each
    channel by itself takes group = C. PyTorch: the same as ConvTranspose with output_padding 0.
    """

    transposed = True

    def _check_sizes(self, sizes: Sequence[int]) -> None:
        for size, extent, stride, pad in zip(sizes, self.extents(), self.stride, self.pad, strict=True):
            full = stride * (size - 1) + extent
            if full <= 2 * pad:
                raise LayerError(f"pad {pad} leaves nothing of a top of size {full}", PATH, "pad")

    def convolved(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return deconvolve(x, weight, bias, self.stride, self.pad, self.dilation, self.group)


def deconvolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, ...],
    pad: tuple[int, ...],
    dilation: tuple[int, ...],
    group: int,
) -> Tensor:
    """PyTorch's transposed convolution of (N, C, spatial axes...), for any number of spatial axes."""
    if not stride:
        return F.conv_transpose1d(x[..., None], weight[..., None], bias, groups=group)[..., 0]
    if len(stride) in DECONVOLUTIONS:
        return DECONVOLUTIONS[len(stride)](x, weight, bias, stride, pad, 0, group, dilation)
    # Along the first axis: the bottom's values become batch, the kernel's taps channels of the top.
    values = x.movedim(2, 1)
    y = deconvolve(values.flatten(0, 1), weight.flatten(1, 2), None, stride[1:], pad[1:], dilation[1:], group)
    y = y.reshape(*values.shape[:2], -1, weight.shape[2], *y.shape[2:]).movedim((1, 3), (2, 3))
    y = _overlaid(y, stride[0], dilation[0])
    y = y.narrow(2, pad[0], y.shape[2] - 2 * pad[0])
    return y if bias is None else y + bias.reshape(-1, *(1,) * len(stride))


def _overlaid(x: Tensor, stride: int, dilation: int) -> Tensor:
    """(N, C, H, taps, ...) added up to (N, C, stride (H - 1) + dilation (taps - 1) + 1, ...)."""
    height, taps = x.shape[2:4]
    rows, columns = torch.arange(height, device=x.device) * stride, torch.arange(taps, device=x.device) * dilation
    top = x.new_zeros(*x.shape[:2], stride * (height - 1) + dilation * (taps - 1) + 1, *x.shape[4:])
    return top.index_add(2, (rows[:, None] + columns).flatten(), x.flatten(2, 3))
