"""The shapes of a net's inputs, as far as its text and the shapes of its weights tell them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from netspec.layers.base import Shape
from netspec.layers.sources import image_size
from netspec.schema.netspec_pb2 import LayerParameter

T = TypeVar("T")

_WEIGHT_AXES = 4
"""Of a convolution over images."""


def stated_shapes(layers: Sequence[LayerParameter]) -> dict[str, Shape]:
    """The shapes of what data and Input layers bring, as far as the text tells them: batch 1 for data layers, but what
    Input and DummyData layers say, the latter in its old form too."""
    found = _image_shapes(layers)
    for layer in layers:
        tops, dummy = len(layer.top), layer.dummy_data_param
        sizes = [_for_each(list(axis), tops) for axis in (dummy.num, dummy.channels, dummy.height, dummy.width)]
        shapes = [tuple(shape.dim) for shape in (*layer.input_param.shape, *dummy.shape)]
        found.update(zip(layer.top, _for_each(shapes, tops) or zip(*sizes, strict=False), strict=False))
    return found


def _for_each(values: list[T], tops: int) -> list[T]:
    """Caffe's rule: a single value is that of all tops."""
    return values * tops if len(values) == 1 else values


def _image_shapes(layers: Sequence[LayerParameter]) -> dict[str, Shape]:
    """One image for each data layer that says how large it is; its channels are what the first convolution takes, or
    those of the layer's own fields."""
    found: dict[str, Shape] = {}
    for layer in layers:
        height, width = image_size(layer)
        if layer.top and height and (depth := channels(layers, layer.top[0]) or _stated_channels(layer)):
            found[layer.top[0]] = (1, depth, height, width)
    return found


def _stated_channels(layer: LayerParameter) -> int:
    """The channels of a data layer's images where its text alone tells them, else 0."""
    transform, memory = layer.transform_param, layer.memory_data_param.channels
    if memory or len(transform.mean_value) > 1:
        return memory or len(transform.mean_value)
    if layer.type == "ImageData":
        return 3 if layer.image_data_param.is_color else 1
    return 3 if transform.force_color else 1 if transform.force_gray else 0


def channels(layers: Iterable[LayerParameter], name: str) -> int:
    """The channels of a blob, from the weights of the first convolution after it; 0 where there is none."""
    reached = {name}
    for layer in layers:
        if not reached & set(layer.bottom):
            continue
        reached.update(layer.top)
        if layer.HasField("convolution_param") and layer.blobs and len(layer.blobs[0].shape.dim) == _WEIGHT_AXES:
            first, second = layer.blobs[0].shape.dim[:2]
            return first if layer.type == "Deconvolution" else second * layer.convolution_param.group
    return 0
