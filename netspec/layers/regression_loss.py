"""Losses over the differences of two blobs: EuclideanLoss, SmoothL1Loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from netspec.layers.base import LayerError, Shape, layer
from netspec.layers.loss import Loss, check_items, check_pair, four_axes
from netspec.schema.netspec_pb2 import LayerParameter


@layer("EuclideanLoss", bottoms=2)
class EuclideanLoss(Loss):
    """sum (a - b)^2 / (2 N), N the first axis.

    Bottoms: a and b, with as many values and the same first axis. Both get a gradient.
    Unlike in PyTorch's mse_loss, the sum is not divided by the number of values.
    """

    unforced = None

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        check_pair(bottoms)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return F.mse_loss(a, b.reshape(a.shape), reduction="sum") / (2 * a.shape[0])


@layer("SmoothL1Loss", bottoms=(2, 4))
class SmoothL1Loss(Loss):
    """sum w_out f(w_in (a - b)) / N: f(d) = 0.5 (sigma d)^2 where |d| < 1 / sigma^2, else |d| - 0.5 / sigma^2.

    A layer of Fast R-CNN's fork and of SSD's (which has no `sigma`; the default is 1). Bottoms, all of one shape: a and
    b, then, if wanted, the weights w_in and w_out. N is the first axis. a and b get a gradient, the weights none.
    PyTorch: smooth_l1_loss with beta = 1 / sigma^2, but summed and divided by N.
    """

    unforced = None

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        sigma = param.smooth_l1_loss_param.sigma
        if not sigma > 0:
            raise LayerError(f"sigma must be above 0, not {sigma:g}", "smooth_l1_loss_param", "sigma")
        self.beta = 1 / sigma**2
        check_items(bottoms)
        for i, shape in enumerate(bottoms):
            if four_axes(shape) != four_axes(bottoms[0]):
                raise LayerError(f"bottom {i} is {shape}, unlike bottom 0, which is {bottoms[0]}", "bottom")

    def forward(self, a: Tensor, b: Tensor, inside: Tensor | None = None, outside: Tensor | None = None) -> Tensor:
        difference = a - b.reshape(a.shape)
        if inside is not None:
            difference = difference * inside.detach().reshape(a.shape)
        losses = F.smooth_l1_loss(difference, torch.zeros_like(difference), reduction="none", beta=self.beta)
        if outside is not None:
            losses = losses * outside.detach().reshape(a.shape)
        return losses.sum() / a.shape[0]
