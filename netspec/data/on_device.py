"""The batches of a net's data layers in tensors that keep their place, as captured passes read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from netspec.inputs import laid_out
from netspec.net import Net
from netspec.wiring import wire

Inputs = Mapping[str, Tensor]
"""The inputs of a pass by name."""


class NextInputs:
    """Takes the next batch of every data layer that a net's outputs need, as the net itself does when it is called."""

    def __init__(self, net: Net) -> None:
        needed = set(wire(net.compiled, net.outputs).inputs)
        self._sources = [(node.tops, source) for node, source in net.sources if needed & set(node.tops)]

    def __call__(self) -> dict[str, Tensor]:
        """The batches, as tensors on the net's device. Raises DataError."""
        return {name: top for tops, source in self._sources for name, top in zip(tops, source.next(), strict=True)}


class StaticInputs:
    """Tensors for the inputs of some passes, in the shapes of the first `batches` and a memory format."""

    def __init__(self, batches: Sequence[Inputs], memory_format: torch.memory_format | None) -> None:
        self.batches = [
            {name: torch.empty_like(laid_out(given, memory_format)) for name, given in batch.items()}
            for batch in batches
        ]

    def take(self, batches: Sequence[Inputs]) -> bool:
        """Copy batches into the tensors; whether they fit: of others nothing is copied."""
        if _shapes(batches) != _shapes(self.batches):
            return False
        for batch, places in zip(batches, self.batches, strict=True):
            for name, given in batch.items():
                places[name].copy_(given, non_blocking=True)
        return True


def _shapes(batches: Sequence[Inputs]) -> list[dict[str, torch.Size]]:
    return [{name: given.shape for name, given in batch.items()} for batch in batches]
