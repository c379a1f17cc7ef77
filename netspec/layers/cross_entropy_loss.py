"""Negative logs of probabilities: SoftmaxWithLoss, SigmoidCrossEntropyLoss, MultinomialLogisticLoss."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from netspec.layers.base import LayerError, Shape, layer
from netspec.layers.labels import class_axis, class_numbers, holds_shares, item_classes
from netspec.layers.loss import LOG_THRESHOLD, Loss, NormalizedLoss, check_items, check_pair, clamp
from netspec.schema.netspec_pb2 import LayerParameter, LossParameter

LARGEST_LOSS = -math.log(torch.finfo(torch.float32).tiny)
"""87.3365: the loss of an item whose probability is at its floor, the smallest normal float."""


_SMOOTHING = ("loss_param", "label_smoothing")


@layer("SoftmaxWithLoss", bottoms=2, tops=(1, 2))
class SoftmaxWithLoss(NormalizedLoss):
    """-sum log max(p, FLT_MIN) / Z, p the softmax probability of each item's label; a second top is all probabilities.

    Bottoms: scores with the classes on `softmax_param.axis` (default 1), and a label for every place on the other axes.
    Or, in the shape of the scores (axes of 1 may be left out), the share of each class in each item, as mixup and
    cutmix make them: the loss of an item is -sum_c share_c log max(p_c, FLT_MIN), and no label can be ignored.
    `loss_param.normalization` names Z: the number of labels (FULL), of those that are not `ignore_label` (VALID, the
    default), the batch size (BATCH_SIZE: all axes before the classes), `pre_fixed_normalizer` (PRE_FIXED, R-FCN's
    fork), or 1 (NONE); never below 1. The second top passes no gradient.
    SegNet's fork: with `weight_by_label_freqs` the loss of each item is multiplied by the `class_weighting` of its
    label, of which there is one for each class, in their order; Z does not know them.
    `label_smoothing` e, in TEST too, takes e of each label and shares it out evenly among all classes.
    Unlike in PyTorch's cross_entropy, the loss of an item is at most 87.3365, all labels ignored give 0, not NaN, and
    Z is not the sum of the weights. Probabilities as the target, and label_smoothing, are the same there.
    """

    weighs_classes = True
    smooths_labels = True

    class_weighting: Tensor | None

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        self.axis = class_axis(param.softmax_param.axis, bottoms, "softmax_param", "axis", takes_shares=True)
        check_items(bottoms)
        self.classes = bottoms[0][self.axis]
        self.shares = holds_shares(bottoms, self.axis)
        self.label_smoothing = float(param.loss_param.label_smoothing)
        _refuse(param.loss_param, self.shares)
        self.probabilities = len(param.top) > 1
        self.register_buffer("class_weighting", _class_weighting(param.loss_param, self.classes), persistent=False)

    def forward(self, scores: Tensor, labels: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        if self.shares:
            losses = counted = self._of_shares(scores, labels.detach().reshape(scores.shape))
        else:
            counted = class_numbers(labels, scores, self.axis, self.name, self.ignore_label)
            losses = self._of_labels(scores, counted)
        loss = self.normalized(losses, counted, math.prod(scores.shape[: self.axis]))
        return (loss, F.softmax(scores.detach(), self.axis)) if self.probabilities else loss

    def _of_labels(self, scores: Tensor, numbers: Tensor) -> Tensor:
        """The loss of each item whose label is a class."""
        losses = F.cross_entropy(
            scores if self.axis == 1 else scores.movedim(self.axis, min(1, scores.dim() - 1)),
            numbers,
            ignore_index=self.ignore_label,
            reduction="none",
        )
        losses = clamp(losses, most=LARGEST_LOSS)
        if self.class_weighting is not None:
            known = numbers.masked_fill(numbers == self.ignore_label, 0)
            losses = losses * self.class_weighting.to(scores.device)[known]
        if self.label_smoothing:
            even = self._logs(scores).mean(self.axis).masked_fill(numbers == self.ignore_label, 0)
            losses = torch.lerp(losses, even, self.label_smoothing)
        return losses

    def _of_shares(self, scores: Tensor, shares: Tensor) -> Tensor:
        """The loss of each item whose label is a share for each class."""
        if self.label_smoothing:
            shares = torch.lerp(shares, torch.full_like(shares, 1 / self.classes), self.label_smoothing)
        return (self._logs(scores) * shares).sum(self.axis)

    def _logs(self, scores: Tensor) -> Tensor:
        """-log max(p, FLT_MIN), with the gradient of -log p."""
        return clamp(-F.log_softmax(scores, self.axis), most=LARGEST_LOSS)


def _refuse(loss: LossParameter, shares: bool) -> None:
    """LayerError where fields of a loss make no sense together."""
    if not 0 <= loss.label_smoothing <= 1:
        raise LayerError(f"label_smoothing must be from 0 to 1, not {loss.label_smoothing:g}", *_SMOOTHING)
    if loss.label_smoothing and loss.weight_by_label_freqs:
        raise LayerError("give label_smoothing or weight_by_label_freqs, not both", *_SMOOTHING)
    by_label = {"ignore_label": loss.HasField("ignore_label"), "weight_by_label_freqs": loss.weight_by_label_freqs}
    for field, is_set in by_label.items():
        if shares and is_set:
            raise LayerError(f"bottom 1 holds shares of classes: {field} needs one label an item", "loss_param", field)


def _class_weighting(loss: LossParameter, classes: int) -> Tensor | None:
    """The factor of each class, None where the classes are not weighed; LayerError unless there is one for each."""
    if not loss.weight_by_label_freqs:
        return None
    if len(loss.class_weighting) != classes:
        reason = f"class_weighting is given {len(loss.class_weighting)} times for {classes} classes"
        raise LayerError(reason, "loss_param", "class_weighting")
    return torch.tensor(loss.class_weighting, dtype=torch.float32)


@layer("SigmoidCrossEntropyLoss", bottoms=2)
class SigmoidCrossEntropyLoss(NormalizedLoss):
    """-sum (t log p + (1 - t) log(1 - p)) / Z, p the sigmoid of each score and t its target.

    Bottoms: scores, and as many targets with the same first axis; they may be any number, mostly 0 or 1. Z is as in
    SoftmaxWithLoss, but the default is BATCH_SIZE, the first axis: a sum for each image. A target whose whole part is
    `loss_param.ignore_label` costs nothing.
    Unlike in PyTorch's binary_cross_entropy_with_logits, Z is not the number of scores, unless FULL is asked for.
    """

    default_normalization = LossParameter.BATCH_SIZE

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        check_pair(bottoms)

    def forward(self, scores: Tensor, targets: Tensor) -> Tensor:
        targets = targets.detach().reshape(scores.shape)
        numbers = targets.long()
        # Exact for sure scores too, where PyTorch's own form takes the small difference of two large numbers.
        positive = scores >= 0
        losses = F.softplus(torch.where(positive, -scores, scores)) - scores * torch.where(
            positive, targets - 1, targets
        )
        losses = losses.masked_fill(numbers == self.ignore_label, 0)
        return self.normalized(losses, numbers, scores.shape[0])


@layer("MultinomialLogisticLoss", bottoms=2)
class MultinomialLogisticLoss(Loss):
    """-sum log max(p, 1e-20) / N, p the probability of each item's label.

    Bottoms: probabilities (N, ...), all that follows the first axis being the classes, and N labels. Where p is below
    the floor the gradient is that at the floor.
    PyTorch: the same as nll_loss of the logarithm of p, but for the floor.
    """

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        self.classes = item_classes(bottoms)

    def forward(self, probabilities: Tensor, labels: Tensor) -> Tensor:
        rows = probabilities.reshape(-1, self.classes)
        own = rows.gather(1, class_numbers(labels, rows, 1, self.name).unsqueeze(1))
        return -clamp(own, least=LOG_THRESHOLD).log().sum() / rows.shape[0]
