"""Class numbers as they come in blobs: floats, one an item, in any shape of the right count."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from netspec.layers.axis import canonical_axis
from netspec.layers.base import LayerError, Shape


def class_axis(axis: int, bottoms: Sequence[Shape], *field: str) -> int:
    """The canonical axis of the classes in the scores (bottom 0). LayerError unless bottom 1 has a label an item."""
    scores, labels = bottoms
    axis = canonical_axis(axis, scores, *field)
    items = math.prod(scores[:axis]) * math.prod(scores[axis + 1 :])
    if math.prod(labels) != items:
        raise LayerError(
            f"scores {scores} with classes on axis {axis} need {items} labels, but bottom 1 is {labels}", "bottom"
        )
    return axis


def class_numbers(labels: Tensor, scores: Tensor, axis: int) -> Tensor:
    """The labels as int64, in the shape of the scores without their class axis."""
    return labels.reshape(scores.shape[:axis] + scores.shape[axis + 1 :]).long()
