"""Layers that work on each value by itself, and Softmax."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from netspec.layers.axis import canonical_axis, check_axes
from netspec.layers.base import Layer, LayerError, Shape, layer
from netspec.schema.netspec_pb2 import FillerParameter, LayerParameter


@layer("ReLU")
class ReLU(Layer):
    """y = max(x, 0) + negative_slope min(x, 0). PyTorch: ReLU, or LeakyReLU where there is a negative_slope."""

    takes_16_bits = True

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        self.negative_slope = param.relu_param.negative_slope

    def forward(self, x: Tensor) -> Tensor:
        if self.negative_slope:
            return F.leaky_relu(x, self.negative_slope, self.in_place)
        return F.relu(x, self.in_place)


@layer("ReLU6")
class ReLU6(Layer):
    """y = min(max(x, 0), 6), of the MobileNet forks. PyTorch: the same as its ReLU6."""

    takes_16_bits = True

    def forward(self, x: Tensor) -> Tensor:
        return F.relu6(x, self.in_place)


@layer("PReLU")
class PReLU(Layer):
    """y = max(x, 0) + a min(x, 0) with a learned slope a (He et al. 2015), 0.25 without a filler.

    Slope blob (C,), or a scalar with `channel_shared`. PyTorch: PReLU, whose shared slope has shape (1,).
    """

    takes_16_bits = True

    slope: Tensor

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        prelu = param.prelu_param
        check_axes("PReLU", bottoms[0], 2)
        filler = prelu.filler if prelu.HasField("filler") else FillerParameter(type="constant", value=0.25)
        self.add_blob("slope", () if prelu.channel_shared else (bottoms[0][1],), filler)

    def forward(self, x: Tensor) -> Tensor:
        return F.prelu(x, self.slope)


@layer("ELU")
class ELU(Layer):
    """y = x above 0, else alpha (exp(x) - 1) (Clevert et al. 2016). PyTorch: the same as its ELU."""

    takes_16_bits = True

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        self.alpha = param.elu_param.alpha

    def forward(self, x: Tensor) -> Tensor:
        return F.elu(x, self.alpha)


@layer("Sigmoid")
class Sigmoid(Layer):
    """y = 1 / (1 + exp(-x)). PyTorch: the same as its Sigmoid."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(x)


@layer("TanH")
class TanH(Layer):
    """y = tanh(x). PyTorch: the same as its Tanh."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x)


@layer("Dropout")
class Dropout(Layer):
    """In training each value is 0 with probability dropout_ratio, else x / (1 - dropout_ratio); in testing y = x.

    Of forks: with `scale_train` false training leaves the kept values as they are and testing multiplies by
    1 - dropout_ratio; with `sample_weights_test` testing drops too. PyTorch: the same as its Dropout, the forks' apart.
    """

    takes_16_bits = True

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        dropout = param.dropout_param
        self.ratio, self.scale_train = dropout.dropout_ratio, dropout.scale_train
        self.drops_in_test = dropout.sample_weights_test
        if not 0 <= self.ratio < 1:
            raise LayerError(
                f"dropout_ratio must be at least 0 and below 1, not {self.ratio:g}", "dropout_param", "dropout_ratio"
            )

    def forward(self, x: Tensor) -> Tensor:
        y = F.dropout(x, self.ratio, self.training or self.drops_in_test)
        return y if self.scale_train else y * (1 - self.ratio)


@layer("Softmax")
class Softmax(Layer):
    """y = exp(x) / sum exp(x) along `axis`. PyTorch: the same as its Softmax with dim = axis."""

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        self.axis = canonical_axis(param.softmax_param.axis, bottoms[0], "softmax_param", "axis")

    def forward(self, x: Tensor) -> Tensor:
        return F.softmax(x, self.axis)
