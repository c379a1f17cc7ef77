"""Convolution, and what every layer that reads `convolution_param` shares."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from netspec.layers.axis import canonical_axis
from netspec.layers.base import Layer, LayerError, Shape, layer
from netspec.layers.window import per_axis
from netspec.memory_format import laid_out
from netspec.schema.netspec_pb2 import LayerParameter

PATH = "convolution_param"
CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}

_HAS_AVX512 = torch.backends.cpu.get_cpu_capability() == "AVX512"
_SMALL_MAP, HEAVY_WEIGHT = (4 * 4, 1 << 18) if _HAS_AVX512 else (2 * 2, 1 << 20)
_LARGEST_KERNEL = 5
"""Up to this map and from this weight on, oneDNN's windows on a CPU take up to twice as long in channels-last memory,
in 32 bits. Lighter weights are 5 to 30 % faster in it, larger kernels eight times. Measured with AVX-512 and with AVX2,
which is faster in it from maps of 3 x 3 on."""

_FEW_CHANNELS = 16
"""oneDNN's blocks on a CPU hold up to so many."""


class BaseConvolution(Layer):
    """Reads `convolution_param` and declares its blobs; a subclass says how it carries one bottom into its top.

    The axes before `axis` are the batch, those after it spatial: any number, also none.
    """

    needs_top = False
    takes_16_bits = True
    transposed = False
    """Whether the weight's first axis is the bottom's channels, not the top's."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        conv = param.convolution_param
        _check_bottoms(param, bottoms)
        self.axis = canonical_axis(conv.axis, bottoms[0], PATH, "axis")
        channels, *sizes = bottoms[0][self.axis :]
        self.kernel = per_axis(conv, "kernel_size", len(sizes), None, PATH)
        self.stride = per_axis(conv, "stride", len(sizes), 1, PATH)
        self.pad = per_axis(conv, "pad", len(sizes), 0, PATH)
        self.dilation = per_axis(conv, "hole" if conv.HasField("hole") else "dilation", len(sizes), 1, PATH)
        if conv.dilation and conv.HasField("hole"):
            raise LayerError("hole is DeepLab's word for dilation: give one", PATH, "hole")
        self.group = int(conv.group)
        _check_channels(conv.num_output, channels, self.group)
        self._check_sizes(sizes)
        outer, inner = (channels, conv.num_output) if self.transposed else (conv.num_output, channels)
        self.add_blob("weight", (outer, inner // self.group, *self.kernel), conv.weight_filler)
        if conv.bias_term:
            self.add_blob("bias", (conv.num_output,), conv.bias_filler)
        else:
            self.register_parameter("bias", None)

    def _check_sizes(self, sizes: Sequence[int]) -> None:
        """LayerError where a top of bottoms of these spatial sizes would be empty."""
        raise NotImplementedError

    def convolved(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The top of one bottom (N, C, spatial axes...), by a weight and a bias in the shapes of the layer's own."""
        raise NotImplementedError

    def extents(self) -> tuple[int, ...]:
        """How far a kernel reaches along each spatial axis."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    def forward(self, *bottoms: Tensor) -> Tensor | tuple[Tensor, ...]:
        tops = tuple(self._batched(x) for x in bottoms)
        return tops if len(tops) > 1 else tops[0]

    def _batched(self, x: Tensor) -> Tensor:
        """One bottom through the weights, all axes before the channels as one."""
        if self.axis == 1:
            return self.convolved(x, self.weight, self.bias)
        batch = x.shape[: self.axis]
        y = self.convolved(x.reshape(math.prod(batch), *x.shape[self.axis :]), self.weight, self.bias)
        return y.reshape(*batch, *y.shape[1:])

    def multiply_adds(self, bottoms: Sequence[Shape], tops: Sequence[Shape]) -> int:
        """One multiply-add a weight that meets each value of every top (of every bottom, where transposed)."""
        return sum(math.prod(x) for x in (bottoms if self.transposed else tops)) * math.prod(self.weight.shape[1:])


@layer("Convolution", bottoms=(1, None), tops=(1, None))
class Convolution(BaseConvolution):
    """Each bottom convolved with the same weights into its own top, over any number of spatial axes.

    Size: floor((H + 2 pad - (dilation (kernel - 1) + 1)) / stride) + 1. Weight (num_output, C / group, kernel...),
    bias (num_output,). Where no axis follows `axis` this is a product over the channels, and no kernel is needed.
    `engine` and `force_nd_im2col` change no value. Unlike in PyTorch, `axis` names the channels (all axes before it
    are batch), and weights without a filler are 0.
    """

    def _check_sizes(self, sizes: Sequence[int]) -> None:
        for i, extent in enumerate(self.extents()):
            padded = sizes[i] + 2 * self.pad[i]
            if extent > padded:
                dilated = f" spans {extent} with dilation {self.dilation[i]}, which" if self.dilation[i] > 1 else ""
                raise LayerError(
                    f"kernel {self.kernel[i]}{dilated} is larger than the padded input {padded}", PATH, "kernel_size"
                )

    @property
    def skips_places(self) -> bool:
        """Whether a 1x1 kernel passes over places of few channels. In channels-last memory oneDNN then writes the
        weight's gradient outside of its own memory (uxlfoundation/oneDNN#6035)."""
        is_strided = self.kernel == (1, 1) and self.stride != (1, 1) and self.pad == (0, 0)
        return is_strided and self.group == 1 and self.weight.shape[1] < _FEW_CHANNELS

    def convolved(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        stride = self.stride
        if self.skips_places:
            is_last = x.stride(1) == 1  # so of one channel as well
            x, stride = at_stride(x, stride, torch.channels_last if is_last else torch.contiguous_format), (1, 1)
        settings = weight, bias, stride, self.pad, self.dilation, self.group
        if self._wants_contiguous(x, weight):
            return convolve(x.contiguous(), *settings).contiguous(memory_format=torch.channels_last)
        return convolve(x, *settings)

    def _wants_contiguous(self, x: Tensor, weight: Tensor) -> bool:
        """Whether this bottom, which is in channels-last memory, is convolved faster out of it."""
        if x.dim() != 4 or x.device.type != "cpu" or x.dtype != torch.float32 or weight.numel() < HEAVY_WEIGHT:
            return False
        is_small = 1 < x.shape[2] * x.shape[3] <= _SMALL_MAP and 1 < max(self.kernel) <= _LARGEST_KERNEL
        return is_small and x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def at_stride(x: Tensor, stride: Sequence[int], memory_format: torch.memory_format) -> Tensor:
    """Every stride-th row and column of (N, C, H, W)."""
    return laid_out(x[:, :, :: stride[0], :: stride[1]], memory_format)


def convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, ...],
    pad: tuple[int, ...],
    dilation: tuple[int, ...],
    group: int,
) -> Tensor:
    """PyTorch's convolution of (N, C, spatial axes...), for any number of spatial axes."""
    if not stride:
        return F.conv1d(x[..., None], weight[..., None], bias, groups=group)[..., 0]
    if len(stride) in CONVOLUTIONS:
        return CONVOLUTIONS[len(stride)](x, weight, bias, stride, pad, dilation, group)
    # The windows along the first axis: their places become batch, their taps channels.
    x = F.pad(x, (0, 0) * (len(stride) - 1) + (pad[0], pad[0]))
    windows = x.unfold(2, dilation[0] * (weight.shape[2] - 1) + 1, stride[0])[..., :: dilation[0]]
    places = windows.movedim((2, -1), (1, 3)).flatten(2, 3)
    y = convolve(places.flatten(0, 1), weight.flatten(1, 2), bias, stride[1:], pad[1:], dilation[1:], group)
    return y.reshape(*places.shape[:2], *y.shape[1:]).movedim(1, 2)


def _check_bottoms(param: LayerParameter, bottoms: Sequence[Shape]) -> None:
    if len(param.top) != len(bottoms):
        needed = f"{len(bottoms)} bottoms need as many tops" if len(bottoms) > 1 else "1 bottom needs 1 top"
        raise LayerError(f"{needed}, not {len(param.top)}", "top")
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
