"""What the tests of layers share: a layer from its text, on the CPU."""

from collections.abc import Callable

import pytest
import torch
from google.protobuf import text_format

from netspec.layers import LAYER_TYPES, Layer
from netspec.schema.netspec_pb2 import LayerParameter

Build = Callable[..., Layer]


@pytest.fixture(scope="session")
def build() -> Build:
    """A function from a layer's text and its bottoms' shapes to the layer; its blobs are 0."""

    def build_layer(text: str, *bottoms: tuple[int, ...], phase: str = "TEST") -> Layer:
        param = text_format.Parse(text, LayerParameter())
        layer = LAYER_TYPES[param.type].build(param, bottoms).train(phase == "TRAIN")
        layer._apply(lambda blob: torch.zeros_like(blob, device="cpu") if blob.is_meta else blob)
        return layer

    return build_layer
