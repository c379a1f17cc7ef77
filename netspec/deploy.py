"""Makes the net that a .caffemodel carries ready to score: data layers become inputs, and losses what they score."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from netspec.errors import SnapshotError, SpecError
from netspec.layers import LAYER_TYPES
from netspec.layers.base import Shape
from netspec.layers.sources import SOURCE_TYPES, image_size
from netspec.schema.netspec_pb2 import BlobShape, InputParameter, LayerParameter, NetParameter
from netspec.spec import Document, to_text
from netspec.upgrade import upgrade_net
from netspec.weights.definition import read_definition

T = TypeVar("T")

_SCORES = {"SoftmaxWithLoss": "Softmax", "SigmoidCrossEntropyLoss": "Sigmoid"}
"""Losses that compare a function of their bottom with the labels, and the layer type of that function."""

_WEIGHT_AXES = 4
"""Of a convolution over images."""


def deploy_net(path: str | Path, shapes: Mapping[str, Sequence[int]]) -> Document[NetParameter]:
    """The deploy net of a .caffemodel of any age.

    What was put in for training goes: the data layers, the losses, what reads labels, Caffe's own Split layers. Each
    input has its shape from `shapes`, or batch 1, the channels of the first convolution and the size of the data
    layer's images. SpecError where it has none, SnapshotError where the file is damaged or a fork's layer cannot be
    read.
    """
    definition = read_definition(Path(path))
    if not definition.net.input_shape and not definition.net.input_dim:
        definition.net.ClearField("input")  # names alone, as Caffe wrote them for some time
    trained = _without_splits(upgrade_net(definition.net).layer)
    layers = _without_dead_ends([*_scoring(trained)])
    if not layers:
        raise SnapshotError(f"{path}: no layer with weights is in it, so there is nothing to score")
    for layer in layers:
        if layer.name in definition.unread:
            reason = f"{definition.unread[layer.name]} has a form that only its fork of Caffe can read"
            raise SnapshotError(f'{path}: layer "{layer.name}": {reason}')
    known = {**_image_shapes(trained), **_stated_shapes(trained), **shapes}
    inputs = [_input(path, name, known.get(name, ())) for name in _unmade(layers)]
    net = NetParameter(name=definition.net.name, layer=[*inputs, *layers])
    for layer in net.layer:
        layer.ClearField("blobs")
        layer.ClearField("phase")
    return Document(net, to_text(net), str(path))


def _without_splits(layers: Iterable[LayerParameter]) -> list[LayerParameter]:
    """The layers without those that Caffe itself puts where a blob has several readers."""
    sources: dict[str, str] = {}
    kept = []
    for layer in layers:
        layer.bottom[:] = [sources.get(name, name) for name in layer.bottom]
        if (
            layer.type == "Split"
            and layer.bottom
            and list(layer.top) == [f"{layer.name}_{index}" for index in range(len(layer.top))]
        ):
            sources.update(dict.fromkeys(layer.top, layer.bottom[0]))
        else:
            kept.append(layer)
    return kept


def _scoring(layers: Sequence[LayerParameter]) -> Iterator[LayerParameter]:
    """The layers without data, losses and whatever reads a loss; a loss of `_SCORES` becomes the function inside it."""
    gone: set[str] = set()
    names = {name for layer in layers for name in layer.top}
    for layer in layers:
        if _is_data(layer):
            continue
        if layer.type in _SCORES and layer.bottom:
            gone.update(layer.top[:1])
            scored = any(other.type == _SCORES[layer.type] and other.bottom == layer.bottom[:1] for other in layers)
            if not scored and not gone & set(layer.bottom[:1]):
                yield _score(layer, names)
        elif layer.type.endswith(("Loss", "Accuracy")) or gone & set(layer.bottom):
            gone.update(layer.top)
        else:
            yield layer


def _score(loss: LayerParameter, names: set[str]) -> LayerParameter:
    """The function inside a loss, with its second top if it has one; else its top is "prob" where that name is free."""
    top = loss.top[1] if len(loss.top) > 1 else "prob" if "prob" not in names else f"{loss.bottom[0]}_prob"
    names.add(top)
    score = LayerParameter(name=top, type=_SCORES[loss.type], bottom=loss.bottom[:1], top=[top])
    if loss.HasField("softmax_param"):
        score.softmax_param.CopyFrom(loss.softmax_param)
    return score


def _is_data(layer: LayerParameter) -> bool:
    """Whether a layer brings the data, one of a fork's types or in Python too."""
    return layer.type in SOURCE_TYPES or (
        not layer.bottom and (layer.type not in LAYER_TYPES or layer.type == "Python")
    )


def _without_dead_ends(layers: list[LayerParameter]) -> list[LayerParameter]:
    """The layers that have weights before them, and those that lead there: the others prepared labels."""
    learned: set[str] = set()
    for layer in layers:
        if layer.blobs or learned & set(layer.bottom):
            learned.update(layer.top)
    kept: list[LayerParameter] = []
    for layer in reversed(layers):
        if set(layer.top) & learned:
            kept.insert(0, layer)
            learned.update(layer.bottom)
    return kept


def _unmade(layers: Iterable[LayerParameter]) -> list[str]:
    """The blobs that are read and that no layer before makes."""
    made: set[str] = set()
    unmade: list[str] = []
    for layer in layers:
        unmade += [name for name in layer.bottom if name not in made]
        made.update(layer.bottom, layer.top)
    return unmade


def _stated_shapes(layers: Iterable[LayerParameter]) -> dict[str, Shape]:
    """What Input and DummyData layers say, the latter in its old form too."""
    found: dict[str, Shape] = {}
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
    """One image for each data layer that says how large it is; its channels are what the first convolution takes."""
    found: dict[str, Shape] = {}
    for layer in layers:
        height, width = image_size(layer)
        if layer.top and height and (channels := _channels(layers, layer.top[0])):
            found[layer.top[0]] = (1, channels, height, width)
    return found


def _channels(layers: Iterable[LayerParameter], name: str) -> int:
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


def _input(path: str | Path, name: str, shape: Sequence[int]) -> LayerParameter:
    if not shape:
        reason = f'the shape of the input "{name}" is not in the file: give it with shapes={{"{name}": ...}}'
        raise SpecError(reason, str(path))
    return LayerParameter(name=name, type="Input", top=[name], input_param=InputParameter(shape=[BlobShape(dim=shape)]))
