"""What losses share: the weight 1, the divisor, the floor under a probability, and which bottoms belong together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from netspec.layers.base import Layer, LayerError, Shape
from netspec.layers.labels import NO_LABEL, ignored_label
from netspec.schema.netspec_pb2 import LayerParameter, LossParameter

LOG_THRESHOLD = 1e-20
"""The least probability that MultinomialLogisticLoss and InfogainLoss take the logarithm of."""


class Loss(Layer):
    """A layer with one number as its first top, which counts toward the net's loss. Labels get no gradient."""

    is_loss = True
    unforced: int | None = 1


class NormalizedLoss(Loss):
    """A loss divided as its `loss_param` says; a label `ignore_label` costs nothing."""

    default_normalization: int = LossParameter.VALID
    weighs_classes = False
    smooths_labels = False

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        if param.loss_param.weight_by_label_freqs and not self.weighs_classes:
            reason = f"{param.type} takes no weight_by_label_freqs: only SoftmaxWithLoss does"
            raise LayerError(reason, "loss_param", "weight_by_label_freqs")
        if param.loss_param.label_smoothing and not self.smooths_labels:
            reason = f"{param.type} takes no label_smoothing: only SoftmaxWithLoss does"
            raise LayerError(reason, "loss_param", "label_smoothing")
        self.ignore_label = ignored_label(param.loss_param)
        self.normalization = self._normalization(param.loss_param)
        self.pre_fixed_normalizer = float(param.loss_param.pre_fixed_normalizer)

    def _normalization(self, loss: LossParameter) -> int:
        """The mode: `normalization`, else what the older `normalize` meant, else the default of the layer type."""
        if loss.HasField("normalization"):
            return int(loss.normalization)
        if loss.HasField("normalize"):
            return int(LossParameter.VALID if loss.normalize else LossParameter.BATCH_SIZE)
        return int(self.default_normalization)

    def normalized(self, losses: Tensor, labels: Tensor, batch: int) -> Tensor:
        """The sum of the losses over Z; `labels` are int64 (any, where none is ignored), `batch` is what BATCH_SIZE
        stands for."""
        return losses.sum() / self._normalizer(labels, batch)

    def _normalizer(self, labels: Tensor, batch: int) -> Tensor | float:
        if self.normalization == LossParameter.NONE:
            return 1
        if self.normalization == LossParameter.PRE_FIXED:
            return max(self.pre_fixed_normalizer, 1)
        if self.normalization == LossParameter.BATCH_SIZE:
            return max(batch, 1)
        if self.normalization == LossParameter.VALID and self.ignore_label != NO_LABEL:
            return (labels != self.ignore_label).sum().clamp(min=1)
        return max(labels.numel(), 1)


class _Clamp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, least: float | None, most: float | None) -> Tensor:
        return x.clamp(least, most)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return grad, None, None


def clamp(x: Tensor, least: float | None = None, most: float | None = None) -> Tensor:
    """x held between two numbers, with the gradient of x itself: Caffe's losses have it where their floor bites."""
    clamped: Tensor = _Clamp.apply(x, least, most)
    return clamped


def check_items(bottoms: Sequence[Shape]) -> None:
    """LayerError unless the first axis, that of the items, is as long in bottom 1 as in bottom 0."""
    if not bottoms[0] or bottoms[0][:1] != bottoms[1][:1]:
        raise LayerError(f"bottoms {bottoms[0]} and {bottoms[1]} differ in their first axis, the items", "bottom")


def check_pair(bottoms: Sequence[Shape]) -> None:
    """LayerError unless bottoms 0 and 1 have a first axis and a number of values in common."""
    a, b = bottoms[:2]
    if not a:
        raise LayerError("the bottoms need a first axis, that of the items", "bottom")
    if a[:1] != b[:1] or math.prod(a) != math.prod(b):
        raise LayerError(f"bottoms {a} and {b} differ in their first axis or their number of values", "bottom")


def four_axes(shape: Shape) -> Shape:
    """A shape as (num, channels, height, width), ones where it has fewer axes; LayerError where it has more."""
    if not 1 <= len(shape) <= 4:
        raise LayerError(f"a bottom is {shape}; it needs 1 to 4 axes", "bottom")
    return (*shape, 1, 1, 1)[:4]
