"""The forward and backward passes of an iteration."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import reduce

import torch
from torch import Tensor

from netspec.errors import DataError
from netspec.inputs import PendingInputs
from netspec.net import Net
from netspec.solver.finite import first_not_finite
from netspec.solver.loss_scale import LossScale
from netspec.solver.weight_copies import WeightCopies

Inputs = Mapping[str, Tensor]
"""The inputs of a pass by name."""


class Passes:
    """Runs a net forward and backward, as often as an iteration has batches. With a `loss_scale`, for FP16, gradients
    are those of the scaled loss, divided again at the end."""

    def __init__(self, net: Net, iter_size: int, loss_scale: LossScale | None = None) -> None:
        self._net, self._iter_size = net, iter_size
        self._loss_scale = loss_scale
        self.copies: WeightCopies | None = None
        """What a pass reads in place of the weights."""
        self._positions: list[int] = []
        self.is_usable = True
        """Whether the last gradients may move the weights: not where the scaled ones overflowed; there are none
        then."""

    def take(self) -> list[PendingInputs]:
        """The batches of the next iteration. After a DataError the data layers stand where they stood before."""
        self._mark()
        try:
            return [self._net.pending_inputs() for _ in range(self._iter_size)]
        except DataError:
            self._rewind()
            raise

    def run(self, batches: Sequence[Inputs] | None = None) -> tuple[dict[str, Tensor], Tensor]:
        """The passes of one iteration, over inputs made of what `take` gave or the next ones: gradients are summed,
        the loss is their mean; returns the last outputs, and it. After a DataError the data layers stand where they
        stood before, and there are no gradients."""
        if batches is None:
            self._mark()
            batches = [{}] * self._iter_size
        self.clear()
        losses = []
        try:
            for inputs in batches:
                with self.copies.in_place() if self.copies else nullcontext():
                    out: dict[str, Tensor] = self._net(**inputs)
                loss = self._net.loss(out)
                goal = self._loss_scale.scaled(loss) if self._loss_scale else loss
                goal.backward()  # type: ignore[no-untyped-call]
                losses.append(loss.detach())
        except DataError:
            self._rewind()
            self.clear()
            raise
        if self._loss_scale:
            self._unscale(self._loss_scale)
        return out, _mean(losses)

    def first_not_finite(self) -> str:
        """What is NaN or infinite first, in words, in the batches of the last iteration, which are run again."""
        self._rewind()
        return first_not_finite(self._net, self._iter_size) or "the sum of the losses"

    def _unscale(self, loss_scale: LossScale) -> None:
        gradients = [param.tensor.grad for param in self._net.params if param.tensor.grad is not None]
        self.is_usable = loss_scale.unscale(gradients)
        if not self.is_usable:
            self.clear()

    def clear(self) -> None:
        """Give up the gradients of before."""
        for param in self._net.params:
            param.tensor.grad = None

    def _mark(self) -> None:
        self._positions = [source.position for _, source in self._net.sources]

    def _rewind(self) -> None:
        for (_, source), position in zip(self._net.sources, self._positions, strict=True):
            source.position = position


def _mean(losses: Sequence[Tensor]) -> Tensor:
    """The mean of losses, by no operation that changes nothing."""
    total = reduce(torch.add, losses)
    return total / len(losses) if len(losses) > 1 else total


def is_finite(loss: Tensor) -> bool:
    """Whether a loss is a number; waits for the device."""
    return math.isfinite(loss.item())
