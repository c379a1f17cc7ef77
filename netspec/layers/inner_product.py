"""InnerProduct: every output sees every input."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from netspec.layers.axis import canonical_axis
from netspec.layers.base import Layer, LayerError, Shape, layer
from netspec.schema.netspec_pb2 import LayerParameter

PATH = "inner_product_param"


@layer("InnerProduct")
class InnerProduct(Layer):
    """y = W x + b over all axes from `axis` on, flattened into K values; top shape[:axis] + (num_output,).

    Weight (num_output, K), or (K, num_output) with `transpose`; bias (num_output,). PyTorch's Linear does not flatten.
    """

    needs_top = False
    takes_16_bits = True

    weight: Tensor
    bias: Tensor | None

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        inner = param.inner_product_param
        if inner.num_output < 1:
            raise LayerError("num_output must be given and at least 1", PATH, "num_output")
        self.axis = canonical_axis(inner.axis, bottoms[0], PATH, "axis")
        self.transpose = bool(inner.transpose)
        shape = (inner.num_output, math.prod(bottoms[0][self.axis :]))
        self.add_blob("weight", shape[::-1] if self.transpose else shape, inner.weight_filler)
        if inner.bias_term:
            self.add_blob("bias", (inner.num_output,), inner.bias_filler)
        else:
            self.register_parameter("bias", None)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.t() if self.transpose else self.weight
        return F.linear(x.flatten(self.axis), weight, self.bias)

    def multiply_adds(self, bottoms: Sequence[Shape], tops: Sequence[Shape]) -> int:
        """K multiply-adds a value of the top."""
        return math.prod(bottoms[0]) * tops[0][-1]
