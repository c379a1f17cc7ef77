"""What is wrong with a net that builds: texts that run and hardly do what was meant."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from netspec.check.build import KNOWN_TYPES
from netspec.check.findings import NOTE, TRAP, Finding
from netspec.data.leveldb_store import is_leveldb
from netspec.data.unit_pixels import unit_numbers
from netspec.graph import Node
from netspec.layers import LAYER_TYPES
from netspec.layers.sources import SOURCE_TYPES
from netspec.schema.comments import comments
from netspec.schema.netspec_pb2 import NetParameter
from netspec.spec import Document

_FILLED = {
    "Convolution": "convolution_param", "Deconvolution": "convolution_param",
    "ConvolutionDepthwise": "convolution_param", "DepthwiseConvolution": "convolution_param",
    "InnerProduct": "inner_product_param", "LSTM": "recurrent_param", "RNN": "recurrent_param",
}  # fmt: skip
"""The layer types whose weights start at 0 without a filler, with the message that the filler stands in."""

_WITH_BLOBS = (*_FILLED, "BatchNorm", "Bias", "BN", "Embed", "Normalize", "PReLU", "Scale")
_PROBABILITIES = {"SoftmaxWithLoss": "Softmax", "SigmoidCrossEntropyLoss": "Sigmoid"}
_MOST_DROPPED = 0.9
_DRAWN_IN_TRAIN = {
    "random_resized_crop", "rotation", "rotation_choice", "zoom_min", "zoom_max", "shift", "mirror_vertical",
    "brightness_min", "brightness_max", "contrast_min", "contrast_max", "saturation_min", "saturation_max",
    "blur_kernel", "erasing_probability", "mixup_alpha", "cutmix_alpha", "copy",
}  # fmt: skip
"""The fields of transform_param that only images in TRAIN are changed by."""


@dataclass(frozen=True)
class NetView:
    """A net as the traps see it: its layers in every phase that it is meant for, and whether weights are given."""

    document: Document[NetParameter]
    phases: dict[str, list[Node]]
    has_weights: bool = False

    def finding(self, severity: str, node: Node, reason: str, *where: str) -> Iterator[Finding]:
        """A finding about a layer, at a field inside it."""
        path = [part for name in where for part in (name, 0)]
        error = self.document.error(f'layer "{node.name}": {reason}', *node.where, *path)
        yield Finding(severity, error)

    @property
    def trained(self) -> list[Node]:
        """The layers of TRAIN, where there is a loss among them."""
        nodes = self.phases.get("TRAIN", [])
        return nodes if any(map(_is_loss, nodes)) else []


Trap = Callable[[NetView], Iterator[Finding]]
LayerTrap = Callable[[NetView, Node], Iterator[Finding]]


def net_traps(view: NetView) -> Iterator[Finding]:
    """Every trap in a net."""
    for trap in NET_TRAPS:
        yield from trap(view)
    for nodes in view.phases.values():
        for node in nodes:
            for layer_trap in LAYER_TRAPS:
                yield from layer_trap(view, node)


def _is_loss(node: Node) -> bool:
    layer_type = LAYER_TYPES.get(node.param.type)
    return bool(node.param.loss_weight) or (layer_type is not None and layer_type.build.is_loss)


def readers(nodes: list[Node]) -> list[list[Node]]:
    """For each layer those that read what it makes, before an in-place layer puts something else there."""
    found: list[list[Node]] = [[] for _ in nodes]
    makers: dict[str, int] = {}
    for index, node in enumerate(nodes):
        for bottom in dict.fromkeys(node.bottoms):
            if bottom in makers:
                found[makers[bottom]].append(node)
        makers |= dict.fromkeys(node.tops, index)
    return found


# --- one layer --------------------------------------------------------------------------------------------------------


def lrn_alpha(view: NetView, node: Node) -> Iterator[Finding]:
    """Caffe's default is 1, not the 0.0001 that papers use."""
    if node.param.type == "LRN" and not node.param.lrn_param.HasField("alpha"):
        yield from view.finding(TRAP, node, "alpha is 1 unless it is given; 0.0001 is usual", "lrn_param")


def bilinear_group(view: NetView, node: Node) -> Iterator[Finding]:
    """The filler writes its kernel for every pair of input and output channel."""
    conv = node.param.convolution_param
    bilinear = node.param.type == "Deconvolution" and conv.weight_filler.type == "bilinear"
    if bilinear and conv.group != conv.num_output:
        reason = f'a "bilinear" filler with group {conv.group} sums channels: upsampling needs group {conv.num_output}'
        yield from view.finding(TRAP, node, reason, "convolution_param", "weight_filler")


def mirrored_test(view: NetView, node: Node) -> Iterator[Finding]:
    """As in Caffe, `mirror` holds in TEST as well. A text that knows no phases was written for training alone."""
    rules = [rule for layer in view.document.message.layer for rule in (*layer.include, *layer.exclude)]
    if "TRAIN" in view.phases and not any(rule.HasField("phase") for rule in rules):
        return
    if node.param.transform_param.mirror and node in view.phases.get("TEST", []) and node.param.type in SOURCE_TYPES:
        reason = "half of the images are mirrored in TEST too, so its scores are random"
        yield from view.finding(TRAP, node, reason, "transform_param", "mirror")


def drawn_in_train(view: NetView, node: Node) -> Iterator[Finding]:
    """Random transforms other than Caffe's `mirror`, in a data layer that is not in TRAIN."""
    train = view.phases.get("TRAIN")
    if train is None or any(other.where == node.where for other in train) or node.param.type not in SOURCE_TYPES:
        return
    for field, _ in node.param.transform_param.ListFields():
        if field.name in _DRAWN_IN_TRAIN:
            reason = f"{field.name} changes images in TRAIN alone: here it has no effect"
            yield from view.finding(TRAP, node, reason, "transform_param", field.name)


def unmixed_classes(view: NetView, node: Node) -> Iterator[Finding]:
    """The number of classes, which is for mixing, without any."""
    transform = node.param.transform_param
    if transform.classes and not (transform.mixup_alpha or transform.cutmix_alpha):
        reason = "classes has no effect without mixup_alpha or cutmix_alpha"
        yield from view.finding(TRAP, node, reason, "transform_param", "classes")


def unit_pixels(view: NetView, node: Node) -> Iterator[Finding]:
    """torchvision's means, and those of all who divide by 255 first."""
    for field, reason in unit_numbers(node.param):
        yield from view.finding(TRAP, node, reason, "transform_param", field)


def dropout_ratio(view: NetView, node: Node) -> Iterator[Finding]:
    """Other frameworks give the part that is kept."""
    ratio = node.param.dropout_param.dropout_ratio
    if node.param.type == "Dropout" and ratio > _MOST_DROPPED:
        reason = f"dropout_ratio is the part that is dropped, not the part that is kept: {ratio:g}"
        yield from view.finding(TRAP, node, reason, "dropout_param", "dropout_ratio")


def unread_message(view: NetView, node: Node) -> Iterator[Finding]:
    """A layer reads the messages of its own type and passes over the others, as Caffe does."""
    for field, _ in node.param.ListFields():
        types = re.split(r"[.:]", comments()[f"LayerParameter.{field.name}"])[0].split(", ")
        is_message_of_types = field.name.endswith("_param") and types[0] in KNOWN_TYPES
        if is_message_of_types and node.param.type in KNOWN_TYPES and node.param.type not in types:
            reason = f"{field.name} has no effect on the type {node.param.type}"
            yield from view.finding(TRAP, node, reason, field.name)


def backend(view: NetView, node: Node) -> Iterator[Finding]:
    """What Caffe's own default would be, unless that is what lies there."""
    data = node.param.data_param
    if node.param.type == "Data" and not data.HasField("backend") and not is_leveldb(view.document.find(data.source)):
        reason = "Caffe itself reads a LevelDB where no backend is given; an LMDB needs backend: LMDB"
        yield from view.finding(NOTE, node, reason, "data_param")


LAYER_TRAPS: list[LayerTrap] = [
    lrn_alpha, bilinear_group, mirrored_test, drawn_in_train, unmixed_classes, unit_pixels, dropout_ratio,
    unread_message, backend,
]  # fmt: skip


# --- the layers of a phase --------------------------------------------------------------------------------------------


def probabilities_twice(view: NetView) -> Iterator[Finding]:
    """A loss that has its Softmax or Sigmoid inside, after one."""
    for nodes in view.phases.values():
        for node, found in zip(nodes, readers(nodes), strict=True):
            for loss in found:
                if _PROBABILITIES.get(loss.param.type) == node.param.type and loss.bottoms[0] in node.tops:
                    reason = f'{loss.param.type} takes scores; it applies {node.param.type} itself, after "{node.name}"'
                    yield from view.finding(TRAP, loss, reason, "bottom")


def unread_data(view: NetView) -> Iterator[Finding]:
    """A data layer's top that becomes an output, as a forgotten label does."""
    for nodes in view.phases.values():
        read = {bottom for node in nodes for bottom in node.bottoms}
        for node in nodes:
            for top in node.tops if node.param.type in SOURCE_TYPES else ():
                if top not in read:
                    yield from view.finding(NOTE, node, f'no layer reads "{top}": it is an output of the net', "top")


def accuracy_in_train(view: NetView) -> Iterator[Finding]:
    """An Accuracy without a rule for TEST."""
    for node in view.trained:
        if node.param.type == "Accuracy":
            yield from view.finding(NOTE, node, "it takes part in TRAIN too, which costs time", "type")


def no_scale(view: NetView) -> Iterator[Finding]:
    """Caffe's BatchNorm only normalises."""
    nodes = view.trained
    bare = []
    for node, found in zip(nodes, readers(nodes), strict=True):
        norm = node.param.batch_norm_param
        own = norm.scale_bias or norm.use_weight_bias or norm.HasField("scale_filler") or norm.HasField("bias_filler")
        if node.param.type == "BatchNorm" and not own and all(r.param.type not in ("Scale", "Bias") for r in found):
            bare.append(node)
    if bare:
        reason = f"BatchNorm learns no slope and bias: a Scale with bias_term after it would{_more(bare)}"
        yield from view.finding(NOTE, bare[0], reason)


# --- the whole net ----------------------------------------------------------------------------------------------------


def no_filler(view: NetView) -> Iterator[Finding]:
    """The layer before the loss learns from 0 as well; any other layer learns little or nothing."""
    nodes = [] if view.has_weights else view.trained
    empty = [
        node
        for node, found in zip(nodes, readers(nodes), strict=True)
        if node.param.type in _FILLED
        and not getattr(node.param, _FILLED[node.param.type]).HasField("weight_filler")
        and not all(_is_loss(reader) or reader.param.type == "Accuracy" for reader in found)
    ]
    if empty:
        reason = f"without a weight_filler the weights start at 0, where a hidden layer hardly learns{_more(empty)}"
        yield from view.finding(TRAP, empty[0], reason)


def frozen_statistics(view: NetView) -> Iterator[Finding]:
    """Statistics that never come from anywhere."""
    frozen = [node for node in view.trained if node.param.batch_norm_param.use_global_stats]
    if frozen and not view.has_weights:
        reason = f"use_global_stats in TRAIN, but without weights there are no statistics: x times 316{_more(frozen)}"
        yield from view.finding(TRAP, frozen[0], reason, "batch_norm_param", "use_global_stats")


def batch_statistics(view: NetView) -> Iterator[Finding]:
    """Tests that normalise by the batch at hand."""
    norms = [node for node in view.phases.get("TEST", []) if node.param.batch_norm_param.HasField("use_global_stats")]
    by_batch = [node for node in norms if not node.param.batch_norm_param.use_global_stats]
    if by_batch:
        reason = f"use_global_stats: false in TEST: an image's scores depend on its batch{_more(by_batch)}"
        yield from view.finding(TRAP, by_batch[0], reason, "batch_norm_param", "use_global_stats")


def nothing_learns(view: NetView) -> Iterator[Finding]:
    """A net in which every lr_mult is 0."""
    nodes = [node for node in view.trained if node.param.type in _WITH_BLOBS and node.param.type != "BatchNorm"]
    if nodes and all(node.param.param and not any(spec.lr_mult for spec in node.param.param) for node in nodes):
        yield from view.finding(TRAP, nodes[0], f"lr_mult is 0 in every layer: nothing learns{_more(nodes)}", "param")


def only_tested(view: NetView) -> Iterator[Finding]:
    """Weights go from the train net to the test net by the layers' names."""
    trained = {node.name for node in view.trained}
    lone = [node for node in view.phases.get("TEST", []) if node.param.type in _WITH_BLOBS and node.name not in trained]
    if trained and lone:
        reason = f"no layer of this name is in TRAIN, so TEST has untrained weights{_more(lone)}"
        yield from view.finding(TRAP, lone[0], reason, "name")


def other_pixels(view: NetView) -> Iterator[Finding]:
    """What makes numbers of pixels must be the same in both phases."""
    train, test = (
        [node for node in view.phases.get(phase, []) if node.param.type in SOURCE_TYPES] for phase in ("TRAIN", "TEST")
    )
    if len(train) != 1 or len(test) != 1:
        return
    for name in ("scale", "mean_file", "mean_value", "force_color", "force_gray"):
        if getattr(train[0].param.transform_param, name) != getattr(test[0].param.transform_param, name):
            yield from view.finding(TRAP, test[0], f"{name} is not that of TRAIN", "transform_param", name)


def _more(nodes: list[Node]) -> str:
    """How many layers more than the first one a finding is about."""
    return f" (and {len(nodes) - 1} more)" if len(nodes) > 1 else ""


NET_TRAPS: list[Trap] = [
    probabilities_twice, unread_data, accuracy_in_train, no_scale, no_filler, frozen_statistics,
    batch_statistics, nothing_learns, only_tested, other_pixels,
]  # fmt: skip
