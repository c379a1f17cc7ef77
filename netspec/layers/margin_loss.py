"""Losses that are 0 beyond a margin: HingeLoss, ContrastiveLoss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from netspec.layers.base import LayerError, Shape, layer
from netspec.layers.labels import class_numbers, item_classes
from netspec.layers.loss import Loss, check_items, four_axes
from netspec.schema.netspec_pb2 import HingeLossParameter, LayerParameter


@layer("HingeLoss", bottoms=2)
class HingeLoss(Loss):
    """sum max(0, 1 - t s) / N, t being 1 for the label's class and -1 for all others; `norm: L2` squares each term.

    Bottoms: scores s of shape (N, ...), all that follows the first axis being the classes, and N labels.
    Unlike in PyTorch's multi_margin_loss, each class is held against the margin 1, not against the label's score.
    """

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        self.classes = item_classes(bottoms)
        self.squared = param.hinge_loss_param.norm == HingeLossParameter.L2

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
        rows = scores.reshape(-1, self.classes)
        signs = torch.ones_like(rows).scatter(1, class_numbers(labels, rows, 1, self.name).unsqueeze(1), -1.0)
        missed = F.relu(1 + signs * rows)
        return (missed.square() if self.squared else missed).sum() / rows.shape[0]


class _Distance(torch.autograd.Function):
    """The length of each row, with Caffe's gradient: 1e-4 more in the divisor, so that it is 0 where the length is."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        distances = rows.square().sum(1).sqrt()
        ctx.save_for_backward(rows, distances)
        return distances

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        rows, distances = ctx.saved_tensors
        towards: Tensor = rows * (grad / (distances + 1e-4)).unsqueeze(1)
        return towards


@layer("ContrastiveLoss", bottoms=3)
class ContrastiveLoss(Loss):
    """sum d^2 over the similar pairs + sum max(`margin` - d, 0)^2 over the others, / 2N; d is a pair's distance.

    Bottoms: the two vectors of each pair, (N, C) or (N, C, 1, 1) each, and N labels: 0 for a pair that is not similar.
    `margin` is 1 by default; with `legacy_version` the second term is max(margin - d^2, 0). Both vectors get a
    gradient.
    Unlike in PyTorch's embedding losses, it is Euclidean and divided by 2N.
    """

    unforced = 2

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        check_items(bottoms)
        a, b, similar = (four_axes(shape) for shape in bottoms)
        for shape, full in zip(bottoms, (a, b), strict=False):
            if full[2:] != (1, 1):
                raise LayerError(f"a bottom is {shape}; vectors are (N, C) or (N, C, 1, 1)", "bottom")
        if a[1] != b[1]:
            raise LayerError(f"vectors of {a[1]} and {b[1]} numbers make no pairs", "bottom")
        if similar != (a[0], 1, 1, 1):
            raise LayerError(f"{a[0]} pairs need {a[0]} labels, but bottom 2 is {bottoms[2]}", "bottom")
        self.channels = a[1]
        self.margin = float(param.contrastive_loss_param.margin)
        self.legacy_version = bool(param.contrastive_loss_param.legacy_version)

    def forward(self, a: Tensor, b: Tensor, similar: Tensor) -> Tensor:
        difference = (a - b.reshape(a.shape)).reshape(-1, self.channels)
        squares = difference.square().sum(1)
        if self.legacy_version:
            apart = F.relu(self.margin - squares)
        else:
            apart = F.relu(self.margin - _Distance.apply(difference)).square()
        return torch.where(similar.flatten().long() != 0, squares, apart).sum() / (2 * a.shape[0])
