"""Labels as they come in blobs: class numbers, one an item, or the shares that the classes have in each item."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from netspec.errors import DataError
from netspec.layers.axis import canonical_axis
from netspec.layers.base import LayerError, Shape
from netspec.schema.netspec_pb2 import AccuracyParameter, LossParameter
from netspec.tracing import is_traced

NO_LABEL = -(2**62)
"""The label that is ignored where nothing is: no float label becomes this number."""


def class_axis(axis: int, bottoms: Sequence[Shape], *field: str, takes_shares: bool = False) -> int:
    """The canonical axis of the classes in the scores (bottom 0). LayerError unless bottom 1 has a label an item or,
    in a layer that takes them, shares."""
    scores, labels = bottoms
    axis = canonical_axis(axis, scores, *field)
    items = _items(scores, axis)
    if math.prod(labels) == items or (takes_shares and holds_shares(bottoms, axis)):
        return axis
    reason = f"scores {scores} with classes on axis {axis} need {items} labels, but bottom 1 is {labels}"
    if takes_shares and len(labels) > 1 and labels[0] == scores[0]:
        reason += f"; shares of classes would be {scores}"
    raise LayerError(reason + _no_shares(bottoms), "bottom")


def item_classes(bottoms: Sequence[Shape]) -> int:
    """How many classes an item has: all that follows the first axis. LayerError unless bottom 1 has a label an item."""
    scores, labels = bottoms
    if not scores or labels[:1] != scores[:1] or math.prod(labels) != scores[0]:
        items = scores[0] if scores else "a batch of"
        reason = f"scores {scores} need {items} labels, one an item, but bottom 1 is {labels}"
        raise LayerError(reason + _no_shares(bottoms), "bottom")
    return math.prod(scores[1:])


def holds_shares(bottoms: Sequence[Shape], axis: int) -> bool:
    """Whether bottom 1 has a share for each score of bottom 0, in the same axes (those of 1 may be left out). Where
    there is one class, as many labels as items are labels, as in Caffe."""
    scores, labels = bottoms
    return math.prod(labels) != _items(scores, axis) and _same_axes(bottoms)


def _items(scores: Shape, axis: int) -> int:
    return math.prod(scores[:axis]) * math.prod(scores[axis + 1 :])


def _same_axes(bottoms: Sequence[Shape]) -> bool:
    scores, labels = ([size for size in shape if size != 1] for shape in bottoms)
    return scores == labels


def _no_shares(bottoms: Sequence[Shape]) -> str:
    """What more to say of shares in a layer that takes none."""
    return ": mixed labels (shares), which SoftmaxWithLoss takes" if _same_axes(bottoms) else ""


def ignored_label(message: LossParameter | AccuracyParameter) -> int:
    """The label that does not count, or NO_LABEL."""
    return int(message.ignore_label) if message.HasField("ignore_label") else NO_LABEL


def largest_share(shares: Tensor, scores: Tensor, axis: int) -> Tensor:
    """The class of the largest share of each item, of equal ones the lowest: int64, in the shape of the scores without
    their class axis."""
    return shares.reshape(scores.shape).argmax(axis)


def class_numbers(labels: Tensor, scores: Tensor, axis: int, layer: str, ignore_label: int = NO_LABEL) -> Tensor:
    """The labels as int64, in the shape of the scores without their class axis.

    A DataError that names the layer where a label is neither a class nor `ignore_label`, on the CPU: on a GPU nobody
    waits to see it, and the kernels that read the labels assert as much themselves.
    """
    numbers = labels.reshape(scores.shape[:axis] + scores.shape[axis + 1 :]).long()
    if numbers.device.type == "cpu":
        _check_classes(numbers, scores.shape[axis], layer, ignore_label)
    return numbers


def _check_classes(numbers: Tensor, classes: int, layer: str, ignore_label: int) -> None:
    reason = f'layer "{layer}": a label is none of the classes 0 to {classes - 1}'
    if is_traced():
        # PyTorch's compiler puts the text into C++ as it is.
        torch._assert_async(_known(numbers, classes, ignore_label).all(), reason.replace('"', "'").replace("\\", "/"))
    elif numbers.numel():
        least, most = numbers.aminmax()  # in most batches all there is to do
        if int(least) < 0 or int(most) >= classes:
            known = _known(numbers, classes, ignore_label)
            if not known.all():
                raise DataError(f"{reason}, but {numbers[~known][0]}")


def _known(numbers: Tensor, classes: int, ignore_label: int) -> Tensor:
    known = (numbers >= 0) & (numbers < classes)
    return known if ignore_label == NO_LABEL else known | (numbers == ignore_label)
