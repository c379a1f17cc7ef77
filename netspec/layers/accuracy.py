"""Accuracy: how often the label is among the best scores."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from netspec.layers.base import Layer, LayerError, Shape, layer
from netspec.layers.labels import class_axis, class_numbers, holds_shares, ignored_label, largest_share
from netspec.schema.netspec_pb2 import LayerParameter


@layer("Accuracy", bottoms=2, tops=(1, 2))
class Accuracy(Layer):
    """The share of items whose label's score is reached by fewer than `top_k` others; a second top has it a class.

    Bottoms: scores with the classes on `axis` (default 1), and a label for every place on the other axes. Tops: one
    number, and (classes,). Ties count against: constant scores give 0. Items with `ignore_label` do not count; nothing
    to count gives 0. Where any score is NaN so is the result: Caffe would report 1, and a diverged net would look
    perfect. Of labels that are shares of the classes, in the shape of the scores (mixup, cutmix), the class of the
    largest counts, of equal ones the lowest. Unlike in PyTorch's argmax, a tie is never won. No gradient.
    """

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        accuracy = param.accuracy_param
        self.axis = class_axis(accuracy.axis, bottoms, "accuracy_param", "axis", takes_shares=True)
        self.shares = holds_shares(bottoms, self.axis)
        self.classes = bottoms[0][self.axis]
        self.top_k = int(accuracy.top_k)
        if not 1 <= self.top_k <= self.classes:
            raise LayerError(
                f"top_k must be from 1 to the {self.classes} classes, not {self.top_k}", "accuracy_param", "top_k"
            )
        self.ignore_label = ignored_label(accuracy)
        self.per_class = len(param.top) > 1

    @torch.no_grad()
    def forward(self, scores: Tensor, labels: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        if self.shares:
            numbers = largest_share(labels, scores, self.axis)
        else:
            numbers = class_numbers(labels, scores, self.axis, self.name, self.ignore_label)
        counted = (numbers != self.ignore_label).long()
        numbers = numbers * counted  # An ignored label may be no class at all: class 0 stands in, and counts 0.
        own = scores.gather(self.axis, numbers.unsqueeze(self.axis))
        others = (scores >= own).sum(self.axis) - 1
        correct = (others < self.top_k) * counted
        blank = torch.where(scores.isnan().any(), torch.nan, 0.0)
        share = correct.sum() / counted.sum().clamp(min=1) + blank
        return (share, self._by_class(numbers, correct, counted) + blank) if self.per_class else share

    def _by_class(self, numbers: Tensor, correct: Tensor, counted: Tensor) -> Tensor:
        """The share for each class, 0 for a class without items."""
        none = torch.zeros(self.classes, dtype=torch.int64, device=numbers.device)
        hits, items = (none.scatter_add(0, numbers.flatten(), count.flatten()) for count in (correct, counted))
        return hits / items.clamp(min=1)
