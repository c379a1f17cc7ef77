"""Every layer type; importing this package registers them all in `LAYER_TYPES`."""

from netspec.layers import (
    accuracy,
    activation,
    convolution,
    elementwise,
    inner_product,
    loss,
    normalization,
    pooling,
    shape,
)
from netspec.layers.base import LAYER_TYPES, Layer, LayerError, LayerType, layer

__all__ = [
    "LAYER_TYPES",
    "Layer",
    "LayerError",
    "LayerType",
    "accuracy",
    "activation",
    "convolution",
    "elementwise",
    "inner_product",
    "layer",
    "loss",
    "normalization",
    "pooling",
    "shape",
]
