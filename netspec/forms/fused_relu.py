"""Convolution and ReLU in one kernel of oneDNN."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from netspec.forms.base import Form, form, in_turn
from netspec.forms.precision import cast
from netspec.forms.product import takes_images
from netspec.layers.activation import ReLU
from netspec.layers.base import Layer, Shape
from netspec.layers.convolution import Convolution


@form("Convolution", "ReLU")
class FusedReLU(Form):
    """The top is written once, and not read and written again. On a CPU, and where oneDNN has the number type."""

    name = "fused"

    @classmethod
    def fits(cls, layers: Sequence[Layer], bottoms: Sequence[Shape]) -> bool:
        convolution, relu = layers
        assert isinstance(convolution, Convolution) and isinstance(relu, ReLU)
        is_plain = relu.negative_slope == 0 and not convolution.skips_places
        return takes_images(convolution, bottoms) and is_plain and has_kernel()

    def forward(self, *bottoms: Tensor) -> Tensor | tuple[Tensor, ...]:
        layer, _ = self.of
        assert isinstance(layer, Convolution)
        x, weight, bias = cast(bottoms[0], layer.weight, layer.bias)
        return fused(layer, x, weight, bias) if takes(x) else in_turn(self.of, (x,))


def fused(layer: Convolution, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolution and ReLU with a weight and a bias in place of the layer's own, all of one number type, of an x that
    the kernel takes."""
    y: Tensor = _ConvolutionReLU.apply(x, weight, bias, layer.pad, layer.stride, layer.dilation, layer.group)
    return y


class _ConvolutionReLU(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        pad: Sequence[int],
        stride: Sequence[int],
        dilation: Sequence[int],
        group: int,
    ) -> Tensor:
        settings = pad, stride, dilation, group
        y: Tensor = torch.ops.mkldnn._convolution_pointwise(x, weight, bias, *settings, "relu", [], "")
        _show_divergence(y, x, weight)
        ctx.save_for_backward(x, weight, y)
        ctx.settings = stride, pad, dilation, False, (0, 0), group
        ctx.outputs = None if bias is None else list(bias.shape)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, y = ctx.saved_tensors
        grad = torch.ops.aten.threshold_backward(grad, y, 0)
        needed = list(ctx.needs_input_grad[:3])
        grads = torch.ops.aten.convolution_backward(grad, x, weight, ctx.outputs, *ctx.settings, needed)
        return *grads, None, None, None, None


def _show_divergence(y: Tensor, x: Tensor, weight: Tensor) -> None:
    """Make the first value NaN where a bottom or a weight is not finite. oneDNN's ReLU makes 0 of NaN, and the loss of
    a run that has diverged would look well."""
    y[0, 0, 0, 0].add_((x.sum() + weight.sum()) * 0)


def has_kernel() -> bool:
    """Whether this PyTorch has the fused kernel, which it keeps for its own compiler."""
    return hasattr(torch.ops.mkldnn, "_convolution_pointwise")


def takes(x: Tensor) -> bool:
    """Whether the fused kernel computes bottoms like this."""
    if x.device.type != "cpu":
        return False
    return x.dtype == torch.float32 or (x.dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())
