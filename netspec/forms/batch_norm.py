"""BatchNorm and Scale, as nets have them in a row, in one kernel or in none."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from netspec.forms.base import Form, form, in_turn
from netspec.forms.fused_relu import fused, has_kernel, takes
from netspec.forms.precision import cast
from netspec.forms.product import takes_images
from netspec.layers.activation import ReLU
from netspec.layers.base import Layer, Shape
from netspec.layers.convolution import Convolution
from netspec.layers.elementwise import Scale
from netspec.layers.normalization import BatchNorm


@form("BatchNorm", "Scale")
class Affine(Form):
    """PyTorch's batch normalization has slope and bias: those of Scale."""

    name = "affine"

    @classmethod
    def fits(cls, layers: Sequence[Layer], bottoms: Sequence[Shape]) -> bool:
        norm, scale = layers
        assert isinstance(norm, BatchNorm) and isinstance(scale, Scale)
        return len(bottoms[0]) > 1 and scales_channels(norm, scale, len(bottoms[0]))

    def forward(self, *bottoms: Tensor) -> Tensor:
        (x,) = bottoms
        norm, scale = self.of
        assert isinstance(norm, BatchNorm) and isinstance(scale, Scale)
        return norm.normalize(x, scale.scale, scale.bias if scale.bias_term else None)


@form("Convolution", "BatchNorm", "Scale")
class Folded(Form):
    """In testing slope / deviation is multiplied into the convolution's weight, on each pass, and the rest of both
    layers goes into its bias."""

    name = "folded"
    reads_rounded = False  # the product is rounded, once

    @classmethod
    def fits(cls, layers: Sequence[Layer], bottoms: Sequence[Shape]) -> bool:
        convolution, norm, scale = layers
        assert isinstance(convolution, Convolution) and isinstance(norm, BatchNorm) and isinstance(scale, Scale)
        return norm.is_global and takes_images(convolution, bottoms) and scales_channels(norm, scale, 4)

    def forward(self, *bottoms: Tensor) -> Tensor | tuple[Tensor, ...]:
        convolution, norm, scale, *_ = self.of
        assert isinstance(convolution, Convolution) and isinstance(norm, BatchNorm) and isinstance(scale, Scale)
        if not norm.is_global:
            return in_turn(self.of, bottoms)
        mean, variance = norm.statistics()
        factor = scale.scale * torch.rsqrt(variance + norm.eps)
        bias = (-mean if convolution.bias is None else convolution.bias - mean) * factor
        weight = convolution.weight * factor[:, None, None, None]
        return self._convolved(convolution, bottoms[0], weight, bias + scale.bias if scale.bias_term else bias)

    @staticmethod
    def _convolved(convolution: Convolution, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return convolution.convolved(x, weight, bias)


@form("Convolution", "BatchNorm", "Scale", "ReLU")
class FoldedReLU(Folded):
    """The same with the ReLU behind it in the kernel of the convolution."""

    name = "folded_relu"

    @classmethod
    def fits(cls, layers: Sequence[Layer], bottoms: Sequence[Shape]) -> bool:
        *others, relu = layers
        assert isinstance(relu, ReLU)
        return not relu.negative_slope and has_kernel() and super().fits(others, bottoms)

    @staticmethod
    def _convolved(convolution: Convolution, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        x, weight, cast_bias = cast(x, weight, bias)
        if takes(x) and not convolution.skips_places:
            return fused(convolution, x, weight, cast_bias)
        return F.relu(convolution.convolved(x, weight, cast_bias))


def scales_channels(norm: BatchNorm, scale: Scale, axes: int) -> bool:
    """Whether a Scale after a BatchNorm is its missing affine part: one blob of a factor for each of the channels."""
    is_blob = "scale" in scale.blob_names and norm.slope is None
    return is_blob and scale.scale.shape == norm.mean.shape and scale.following == axes - 2
