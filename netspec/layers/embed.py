"""Layers whose top is read straight from their blobs: Embed and Parameter."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from netspec.layers.base import Layer, LayerError, Shape, layer
from netspec.layers.selection import check_indices
from netspec.schema.netspec_pb2 import FillerParameter, LayerParameter


@layer("Embed")
class Embed(Layer):
    """y = weight[x] + bias: each index in the bottom becomes a learned row.

    Bottom of any shape, whole numbers from 0 to input_dim - 1 as floats (on the CPU DataError for others); top with one
    more axis, num_output long. Weight (input_dim, num_output), bias (num_output,). Unlike in PyTorch's Embedding there
    is a bias, unless `bias_term` is false, and a weight without a filler is 0.
    """

    needs_top = False

    weight: Tensor
    bias: Tensor

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        embed = param.embed_param
        for field in ("num_output", "input_dim"):
            if getattr(embed, field) < 1:
                raise LayerError(f"{field} must be given and at least 1", "embed_param", field)
        self.bias_term = bool(embed.bias_term)
        self.add_blob("weight", (embed.input_dim, embed.num_output), embed.weight_filler)
        if self.bias_term:
            self.add_blob("bias", (embed.num_output,), embed.bias_filler)

    def forward(self, x: Tensor) -> Tensor:
        check_indices(self.name, x, self.weight.shape[0])
        rows = F.embedding(x.long(), self.weight)
        return rows + self.bias if self.bias_term else rows


@layer("Parameter", bottoms=0)
class Parameter(Layer):
    """y = the layer's own learned blob, of `shape` (default a scalar).

    It has no filler: it is 0 until weights are loaded, or its `param` name shares the blob of another layer.
    PyTorch: the same as using an nn.Parameter as input.
    """

    values: Tensor

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        shape = tuple(param.parameter_param.shape.dim)
        if min(shape, default=0) < 0:
            raise LayerError(f"shape {shape} has a negative size", "parameter_param", "shape")
        self.add_blob("values", shape, FillerParameter())

    def forward(self) -> Tensor:
        return self.values
