"""The forward and backward passes of an iteration."""

from __future__ import annotations

import torch
from torch import Tensor

from netspec.errors import DataError
from netspec.net import Net
from netspec.solver.finite import first_not_finite


class Passes:
    """Runs a net forward and backward, as often as an iteration has batches."""

    def __init__(self, net: Net, iter_size: int) -> None:
        self._net, self._iter_size = net, iter_size
        self._positions: list[int] = []

    def run(self) -> tuple[dict[str, Tensor], Tensor]:
        """The passes of one iteration: gradients are summed, the loss is their mean; returns the last outputs, and
        it. After a DataError the data layers stand where they stood before, and there are no gradients."""
        self._positions = [source.position for _, source in self._net.sources]
        self._clear()
        total: Tensor | float = 0.0
        try:
            for _ in range(self._iter_size):
                out: dict[str, Tensor] = self._net()
                loss = self._net.loss(out)
                loss.backward()  # type: ignore[no-untyped-call]
                total = total + loss.detach()
        except DataError:
            self._rewind()
            self._clear()
            raise
        assert isinstance(total, Tensor)
        return out, total / self._iter_size

    def first_not_finite(self) -> str:
        """What is NaN or infinite first, in words, in the batches of the last iteration, which are run again."""
        self._rewind()
        return first_not_finite(self._net, self._iter_size) or "the sum of the losses"

    def _clear(self) -> None:
        for param in self._net.params:
            param.tensor.grad = None

    def _rewind(self) -> None:
        for (_, source), position in zip(self._net.sources, self._positions, strict=True):
            source.position = position


def is_finite(loss: Tensor) -> bool:
    """Whether a loss is a number; waits for the device."""
    return bool(torch.isfinite(loss))
