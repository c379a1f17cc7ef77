"""Depthwise convolution: every channel has filters of its own. Two layer types of Caffe's forks."""

from __future__ import annotations

from collections.abc import Sequence

from netspec.layers.axis import canonical_axis, check_axes
from netspec.layers.base import LayerError, Shape, layer
from netspec.layers.convolution import PATH, Convolution
from netspec.schema.netspec_pb2 import LayerParameter


@layer("DepthwiseConvolution", bottoms=(1, None), tops=(1, None))
class DepthwiseConvolution(Convolution):
    """Convolution with one group a channel (a fork's type, github.com/yonghenglh6/DepthwiseConvolution).

    Weight (num_output, 1, kernel...), bias (num_output,); num_output is a multiple of the C channels. `group` is C,
    stated or not. PyTorch: the same as Conv2d with groups=C.
    """

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        conv = param.convolution_param
        channels = bottoms[0][canonical_axis(conv.axis, bottoms[0], PATH, "axis")]
        if conv.group not in (1, channels):
            raise LayerError(f"group must be the {channels} input channels, not {conv.group}", PATH, "group")
        super().__init__(_grouped(param, conv.num_output, channels), bottoms)


@layer("ConvolutionDepthwise")
class ConvolutionDepthwise(Convolution):
    """Each of C channels convolved with a filter of its own (a fork's type, github.com/BVLC/caffe/pull/5665).

    Bottom (N, C, H, W); weight (C, 1, kernel_h, kernel_w), bias (C,). As in the fork `num_output`, `group` and `axis`
    have no effect. PyTorch: the same as Conv2d with groups=C.
    """

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        check_axes("ConvolutionDepthwise", bottoms[0], 4, 4)
        grouped = _grouped(param, bottoms[0][1], bottoms[0][1])
        grouped.convolution_param.ClearField("axis")
        super().__init__(grouped, bottoms)


def _grouped(param: LayerParameter, outputs: int, group: int) -> LayerParameter:
    """A copy of the layer's message with this `num_output` and `group`."""
    copy = LayerParameter()
    copy.CopyFrom(param)
    copy.convolution_param.num_output = outputs
    copy.convolution_param.group = group
    return copy
