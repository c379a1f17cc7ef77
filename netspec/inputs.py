"""What a caller gives for the inputs of a net, made into the blobs that its layers take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from netspec.layers.base import Shape
from netspec.layers.sources import Pending


@dataclass(frozen=True)
class PendingInputs:
    """A batch of each of some data layers, by the names of their tops: the inputs of a pass, which are still to be
    made."""

    batches: Mapping[tuple[str, ...], Pending]

    @classmethod
    def made(cls, inputs: Mapping[str, Tensor]) -> PendingInputs:
        """Inputs that are there."""
        return cls({tuple(inputs): Pending(list(inputs.values()))})

    @property
    def tensors(self) -> list[Tensor]:
        """All that the inputs are made of."""
        return [tensor for batch in self.batches.values() for tensor in batch.tensors]

    @property
    def key(self) -> object:
        """What the operations depend on that make them."""
        return tuple((names, batch.key) for names, batch in self.batches.items())

    def of(self, tensors: Sequence[Tensor]) -> PendingInputs:
        """The same of other tensors."""
        rest = iter(tensors)
        return PendingInputs(
            {
                names: replace(batch, tensors=[next(rest) for _ in batch.tensors])
                for names, batch in self.batches.items()
            }
        )

    def inputs(self) -> dict[str, Tensor]:
        """The inputs by name."""
        return {
            name: top for names, batch in self.batches.items() for name, top in zip(names, batch.tops(), strict=False)
        }


def as_blob(name: str, given: Any, shape: Shape, like: Tensor) -> Tensor:
    """A tensor or an array of real numbers in the number type of `like` and on its device; gradients pass.

    ValueError where it is anything else, or has not the shape, whose first axis may have any size.
    """
    if not _is_real(given):
        kind = f"{type(given).__name__} of {given.dtype}" if hasattr(given, "dtype") else type(given).__name__
        raise ValueError(f'"{name}" must be a dense tensor or an array of real numbers, of shape {shape}, not a {kind}')
    if len(given.shape) != len(shape) or tuple(given.shape[1:]) != shape[1:]:
        raise ValueError(f'"{name}" has shape {tuple(given.shape)}; the net was compiled for {shape}')
    tensor = torch.from_numpy(np.array(given, np.float32)) if isinstance(given, np.ndarray) else given
    return tensor.to(like)


def _is_real(given: object) -> bool:
    if isinstance(given, np.ndarray):
        return given.dtype.kind in "buif"
    if not isinstance(given, Tensor) or given.layout != torch.strided:
        return False
    return not (given.is_complex() or given.is_quantized)
