"""Convolution."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from netspec.layers.axis import canonical_axis
from netspec.layers.base import Layer, LayerError, Shape, layer
from netspec.layers.window import per_axis
from netspec.schema.netspec_pb2 import LayerParameter

PATH = "convolution_param"
CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


@layer("Convolution", bottoms=(1, None), tops=(1, None))
class Convolution(Layer):
    """Each bottom convolved with the same weights into its own top.

    Size: floor((H + 2 pad - (dilation (kernel - 1) + 1)) / stride) + 1. Weight (num_output, C / group, kernel...),
    bias (num_output,). Unlike in PyTorch, `axis` names the channels (all axes before it are batch), and weights
    without a filler are 0.
    """

    needs_top = False

    weight: Tensor
    bias: Tensor | None

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        conv = param.convolution_param
        _check_bottoms(param, bottoms)
        self.axis = canonical_axis(conv.axis, bottoms[0], PATH, "axis")
        channels, *sizes = bottoms[0][self.axis :]
        if len(sizes) not in CONVOLUTIONS:
            raise LayerError(f"{len(sizes)} spatial axes follow axis {self.axis}; there must be 1 to 3", PATH, "axis")
        self.kernel = per_axis(conv, "kernel_size", len(sizes), None, PATH)
        self.stride = per_axis(conv, "stride", len(sizes), 1, PATH)
        self.pad = per_axis(conv, "pad", len(sizes), 0, PATH)
        self.dilation = per_axis(conv, "dilation", len(sizes), 1, PATH)
        self.group = int(conv.group)
        _check_channels(conv.num_output, channels, self.group)
        self._check_kernel(sizes)
        weight = (conv.num_output, channels // self.group, *self.kernel)
        self.add_blob("weight", weight, conv.weight_filler)
        if conv.bias_term:
            self.add_blob("bias", (conv.num_output,), conv.bias_filler)
        else:
            self.register_parameter("bias", None)

    def _check_kernel(self, sizes: Sequence[int]) -> None:
        for size, kernel, pad, dilation in zip(sizes, self.kernel, self.pad, self.dilation, strict=True):
            extent, padded = dilation * (kernel - 1) + 1, size + 2 * pad
            if extent > padded:
                dilated = f" spans {extent} with dilation {dilation}, which" if dilation > 1 else ""
                raise LayerError(
                    f"kernel {kernel}{dilated} is larger than the padded input {padded}", PATH, "kernel_size"
                )

    def forward(self, *bottoms: Tensor) -> Tensor | tuple[Tensor, ...]:
        tops = tuple(self._convolve(x) for x in bottoms)
        return tops if len(tops) > 1 else tops[0]

    def _convolve(self, x: Tensor) -> Tensor:
        batch = x.shape[: self.axis]
        if self.axis != 1:
            x = x.reshape(-1, *x.shape[self.axis :])
        convolve = CONVOLUTIONS[len(self.kernel)]
        y = convolve(x, self.weight, self.bias, self.stride, self.pad, self.dilation, self.group)
        return y if self.axis == 1 else y.reshape(*batch, *y.shape[1:])

    def multiply_adds(self, bottoms: Sequence[Shape], tops: Sequence[Shape]) -> int:
        """One multiply-add a weight of the output's channel, at every value of every top."""
        return sum(math.prod(top) for top in tops) * math.prod(self.weight.shape[1:])


def _check_bottoms(param: LayerParameter, bottoms: Sequence[Shape]) -> None:
    if len(param.top) != len(bottoms):
        raise LayerError(f"{len(bottoms)} bottoms need as many tops, not {len(param.top)}", "top")
    for i, shape in enumerate(bottoms):
        if shape != bottoms[0]:
            raise LayerError(f"bottom {i} is {shape}, unlike bottom 0, which is {bottoms[0]}", "bottom")


def _check_channels(outputs: int, channels: int, group: int) -> None:
    if outputs < 1:
        raise LayerError("num_output must be given and at least 1", PATH, "num_output")
    if group < 1:
        raise LayerError("group must be at least 1, not 0", PATH, "group")
    for number, what in ((channels, "input channels"), (outputs, "num_output")):
        if number % group:
            raise LayerError(f"{what} {number} cannot be divided into {group} groups", PATH, "group")
