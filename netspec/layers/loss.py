"""Losses: one number each, divided as Caffe does."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from netspec.layers.base import Layer, LayerError, Shape, layer
from netspec.layers.labels import class_axis, class_numbers
from netspec.schema.netspec_pb2 import LayerParameter, LossParameter

LARGEST_LOSS = -math.log(torch.finfo(torch.float32).tiny)
"""87.3365: the loss of an item whose probability is at its floor, the smallest normal float."""

NO_LABEL = -(2**62)
"""What PyTorch is told to ignore where nothing is: no float label becomes this number."""


class _Cap(torch.autograd.Function):
    """min(loss, LARGEST_LOSS), with the gradient of the loss itself: Caffe's stays p - onehot where the cap bites."""

    @staticmethod
    def forward(ctx: Any, losses: Tensor) -> Tensor:
        return losses.clamp(max=LARGEST_LOSS)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


def normalization(loss: LossParameter) -> int:
    """The mode that a loss_param asks for: `normalization`, or what the older `normalize` meant."""
    if loss.HasField("normalize") and not loss.HasField("normalization"):
        return int(LossParameter.VALID if loss.normalize else LossParameter.BATCH_SIZE)
    return int(loss.normalization)


@layer("SoftmaxWithLoss", bottoms=2, tops=(1, 2))
class SoftmaxWithLoss(Layer):
    """-sum log max(p, FLT_MIN) / Z, p the softmax probability of each item's label; a second top is all probabilities.

    Z: the number of items (FULL), of those whose label is not `ignore_label` (VALID, the default), the batch size
    (BATCH_SIZE: all axes before the classes), or 1 (NONE), and never below 1. The loss of an item is at most 87.3365,
    unlike in PyTorch's cross-entropy. The second top passes no gradient.
    """

    is_loss = True

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        loss = param.loss_param
        self.axis = class_axis(param.softmax_param.axis, bottoms, "softmax_param", "axis")
        self.classes = bottoms[0][self.axis]
        self.ignore_label: int | None = loss.ignore_label if loss.HasField("ignore_label") else None
        self.normalization = normalization(loss)
        self.probabilities = len(param.top) > 1

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        numbers = class_numbers(labels, scores, self.axis)
        losses = F.cross_entropy(
            scores if self.axis == 1 else scores.movedim(self.axis, min(1, scores.dim() - 1)),
            numbers,
            ignore_index=NO_LABEL if self.ignore_label is None else self.ignore_label,
            reduction="none",
        )
        loss = _Cap.apply(losses).sum() / self._normalizer(numbers, scores)
        return (loss, F.softmax(scores.detach(), self.axis)) if self.probabilities else loss

    def _normalizer(self, numbers: Tensor, scores: Tensor) -> Tensor | int:
        if self.normalization == LossParameter.NONE:
            return 1
        if self.normalization == LossParameter.BATCH_SIZE:
            return max(math.prod(scores.shape[: self.axis]), 1)
        if self.normalization == LossParameter.FULL or self.ignore_label is None:
            return max(numbers.numel(), 1)
        return (numbers != self.ignore_label).sum().clamp(min=1)


@layer("EuclideanLoss", bottoms=2)
class EuclideanLoss(Layer):
    """sum (a - b)^2 / (2 N), N the first axis; PyTorch's MSELoss divides by the number of values instead."""

    is_loss = True

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        a, b = bottoms
        if a[:1] != b[:1] or math.prod(a) != math.prod(b):
            raise LayerError(f"bottoms {a} and {b} differ in their first axis or their number of values", "bottom")

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return F.mse_loss(a, b.reshape(a.shape), reduction="sum") / (2 * a.shape[0])
