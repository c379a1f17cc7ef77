"""The deploy view of a net, ready to score: data layers become inputs, and losses what they score."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from netspec.deploy_shapes import channels, stated_shapes
from netspec.errors import SnapshotError, SpecError
from netspec.graph import build
from netspec.layers import LAYER_TYPES
from netspec.layers.sources import SOURCE_TYPES
from netspec.positions import FieldPath
from netspec.schema.netspec_pb2 import BlobShape, InputParameter, LayerParameter, NetParameter, NetState
from netspec.spec import Document, to_text
from netspec.upgrade import upgrade_net
from netspec.weights.definition import read_definition

_SCORES = {"SoftmaxWithLoss": "Softmax", "InfogainLoss": "Softmax", "SigmoidCrossEntropyLoss": "Sigmoid"}
"""Losses that compare a function of their bottom with the labels, and the layer type of that function."""

LEARNING = frozenset({
    "BN", "BatchNorm", "Bias", "Convolution", "ConvolutionDepthwise", "Deconvolution", "DepthwiseConvolution", "Embed",
    "InnerProduct", "LSTM", "Normalize", "PReLU", "Parameter", "Python", "RNN", "Scale",
})  # fmt: skip
"""Layer types that have blobs, or may have some."""

_OF_TRAINING = ("blobs", "phase", "include", "exclude", "loss_weight")
"""Fields of a layer that a deploy net does without."""


def deploy_net(path: str | Path, shapes: Mapping[str, Sequence[int]], blob: str = "") -> Document[NetParameter]:
    """The deploy net of a .caffemodel of any age.

    What was put in for training goes: the data layers, the losses with their auxiliary heads (but for the one that ends
    in `blob`), what reads labels, Caffe's own Split layers, and a `use_global_stats: false`, by which BatchNorm would
    normalise each batch by itself. Each input has its shape from `shapes`, or batch 1, the channels of the first
    convolution and the size of the data layer's images. SpecError where it has none, SnapshotError where the file is
    damaged or a fork's layer cannot be read.
    """
    definition = read_definition(Path(path))
    trained = _without_splits(_upgraded(definition.net).layer)
    layers = _deployed(trained, blob)
    if not layers:
        raise SnapshotError(f"{path}: no layer with weights is in it, so there is nothing to score")
    for layer in layers:
        if layer.name in definition.unread:
            reason = f"{definition.unread[layer.name]} has a form that only its fork of Caffe can read"
            raise SnapshotError(f'{path}: layer "{layer.name}": {reason}')
        if layer.HasField("batch_norm_param") and not layer.batch_norm_param.use_global_stats:
            layer.batch_norm_param.ClearField("use_global_stats")
    net = _net(definition.net.name, _inputs(str(path), trained, layers, shapes), layers)
    return Document(net, to_text(net), str(path))


def deploy_view(
    document: Document[NetParameter], state: NetState, shapes: Mapping[str, Sequence[int]], blob: str = ""
) -> Document[NetParameter]:
    """The deploy view of a train/test net in a phase, by the rules of `deploy_net`, but BatchNorm stays as the
    text says; a net that is one already stays.

    Each input has its shape from `shapes`, or as the text gives it. Errors about a layer show its place in the text.
    SpecError where the net has nothing to score or the shape of an input is not known.
    """
    nodes = build(document, state).nodes
    trained = _without_splits(node.param for node in nodes)
    layers = _deployed(trained, blob)
    if not layers:
        raise document.error("no layer with weights leads to an output, so there is nothing to score")
    inputs = _inputs(document.path, trained, layers, shapes)
    net = _net(document.message.name, inputs, layers)
    places = {id(node.param): node.where for node in nodes}
    moved = {len(inputs) + index: places[id(layer)] for index, layer in enumerate(layers) if id(layer) in places}
    return Document(net, document.text, document.path, document.prefix, _origins(document, moved))


def deploy_inputs(document: Document[NetParameter], state: NetState) -> list[str]:
    """The inputs of the deploy view of a net in a phase: the blobs that no layer of it makes."""
    return _unmade(_deployed(_without_splits(node.param for node in build(document, state).nodes)))


def stored_data_layer(path: str | Path) -> LayerParameter | None:
    """The first data layer of the net that a .caffemodel carries, which says how its images were prepared; None where
    it has none. Whether they have colour is what the first weights tell."""
    layers = _without_splits(_upgraded(read_definition(Path(path)).net).layer)
    for layer in layers:
        if layer.type in SOURCE_TYPES and layer.top:
            layer.transform_param.force_gray |= channels(layers, layer.top[0]) == 1
            return layer
    return None


def _upgraded(net: NetParameter) -> NetParameter:
    if not net.input_shape and not net.input_dim:
        net.ClearField("input")  # names alone, as Caffe wrote them for some time
    return upgrade_net(net)


def _net(name: str, inputs: Sequence[LayerParameter], layers: Sequence[LayerParameter]) -> NetParameter:
    net = NetParameter(name=name, layer=[*inputs, *layers])
    for layer in net.layer:
        for field in _OF_TRAINING:
            layer.ClearField(field)
    return net


def _inputs(
    path: str, trained: Sequence[LayerParameter], layers: Iterable[LayerParameter], shapes: Mapping[str, Sequence[int]]
) -> list[LayerParameter]:
    """An Input layer for each blob that no layer makes."""
    known = {**stated_shapes(trained), **shapes}
    return [_input(path, name, known.get(name, ())) for name in _unmade(layers)]


def _origins(document: Document[NetParameter], moved: Mapping[int, FieldPath]) -> dict[FieldPath, FieldPath]:
    """Where the layers of a new net, by index, stood in the text of the old one: at `moved` in its message."""
    origins: dict[FieldPath, FieldPath] = {}
    for index, where in moved.items():
        inside = {new: old for new, old in document.origins.items() if new[: len(where)] == where}
        for new, old in ({where: where} | inside).items():
            place = ("layer", index, *new[len(where) :])
            origins[place] = old
    return origins


def _deployed(trained: Sequence[LayerParameter], blob: str = "") -> list[LayerParameter]:
    """The layers that lead to scores. Of several losses only those with the greatest weight have any: a head that feeds
    a lesser one alone is auxiliary, unless `blob` is its end."""
    weights = [(layer, _loss_weight(layer)) for layer in trained if _is_loss(layer)]
    greatest = max((weight for _, weight in weights), default=0)
    lesser = [layer for layer, weight in weights if weight < greatest and blob not in layer.bottom]
    read = {(layer.type, *layer.bottom[:1]) for layer, weight in weights if weight == greatest}
    scored = {name for _, *names in read for name in names}
    for layer in trained:
        if any(layer.type == _SCORES.get(kind) and list(layer.bottom) == names for kind, *names in read):
            scored.update(layer.top)
    auxiliary = {name for layer in lesser for name in layer.bottom} - scored
    return _without_dead_ends([*_scoring(trained, lesser)], auxiliary)


def _is_loss(layer: LayerParameter) -> bool:
    return layer.type.endswith("Loss") or layer.type in _SCORES or any(layer.loss_weight)


def _loss_weight(layer: LayerParameter) -> float:
    return layer.loss_weight[0] if layer.loss_weight else 1.0


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


def _scoring(layers: Sequence[LayerParameter], lesser: Sequence[LayerParameter]) -> Iterator[LayerParameter]:
    """The layers without data, losses and whatever reads a loss; a loss of `_SCORES` that is none of the `lesser`
    becomes the function inside it."""
    gone: set[str] = set()
    names = {name for layer in layers for name in layer.top}
    for layer in layers:
        if _is_data(layer):
            continue
        if layer.type in _SCORES and layer.bottom and layer not in lesser:
            gone.update(layer.top[:1])
            scored = any(other.type == _SCORES[layer.type] and other.bottom == layer.bottom[:1] for other in layers)
            if not scored and not gone & set(layer.bottom[:1]):
                yield _score(layer, names)
        elif _is_loss(layer) or layer.type.endswith("Accuracy") or gone & set(layer.bottom):
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


def _without_dead_ends(layers: list[LayerParameter], auxiliary: set[str]) -> list[LayerParameter]:
    """The layers that lead to an output with weights before it, but to none that is `auxiliary`: the others prepared
    labels, or fed a loss alone."""
    learned: set[str] = set()
    unread: set[str] = set()
    for layer in layers:
        if layer.blobs or layer.type in LEARNING or learned & set(layer.bottom):
            learned.update(layer.top)
        unread.difference_update(layer.bottom)
        unread.update(layer.top)
    wanted = (unread & learned) - auxiliary
    kept: list[LayerParameter] = []
    for layer in reversed(layers):
        if set(layer.top) & wanted:
            kept.insert(0, layer)
            wanted.update(layer.bottom)
    return kept


def _unmade(layers: Iterable[LayerParameter]) -> list[str]:
    """The blobs that are read and that no layer before makes."""
    made: set[str] = set()
    unmade: list[str] = []
    for layer in layers:
        unmade += [name for name in layer.bottom if name not in made]
        made.update(layer.bottom, layer.top)
    return unmade


def _input(path: str, name: str, shape: Sequence[int]) -> LayerParameter:
    if not shape:
        reason = f'the shape of the input "{name}" is not in the file: give it with shapes={{"{name}": ...}}'
        raise SpecError(reason, path, hint=f"--shape {name}=1,3,64,64 for a tool")
    return LayerParameter(name=name, type="Input", top=[name], input_param=InputParameter(shape=[BlobShape(dim=shape)]))
