"""What each layer of a net has to do: multiply-adds, and bytes to move."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from netspec.compiler import BuiltLayer
from netspec.net import Net


@dataclass(frozen=True)
class Work:
    """Multiply-adds, and the bytes of the blobs that are read or written, each counted once."""

    multiply_adds: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class LayerWork:
    """The work of a layer's forward pass, and of its backward pass where it has one."""

    forward: Work
    backward: Work


def survey(net: Net, inputs: Mapping[str, Tensor]) -> dict[str, LayerWork]:
    """The work of every layer by its key, seen in a forward pass: of blobs as they are, 16 bits or 32."""
    surveyor = _Surveyor()
    handles = []
    for layer in net.compiled.layers:
        handles.append(layer.module.register_forward_pre_hook(surveyor.before))
        handles.append(layer.module.register_forward_hook(partial(surveyor.after, layer)))
    try:
        with torch.set_grad_enabled(bool(net.loss_weights)):
            net(**inputs)
    finally:
        for handle in handles:
            handle.remove()
    return surveyor.works


class _Surveyor:
    """Sees the bottoms and the tops of every layer."""

    def __init__(self) -> None:
        self.works: dict[str, LayerWork] = {}
        self._versions: list[int] = []
        self._learning: list[Tensor] = []

    def before(self, module: nn.Module, bottoms: tuple[Tensor, ...]) -> None:
        self._versions = [bottom._version for bottom in bottoms]
        self._learning = [bottom for bottom in bottoms if bottom.requires_grad]

    def after(
        self,
        layer: BuiltLayer,
        module: nn.Module,
        bottoms: tuple[Tensor, ...],
        result: Tensor | tuple[Tensor, ...] | None,
    ) -> None:
        tops = (result,) if isinstance(result, Tensor) else result or ()
        changed = self._versions != [bottom._version for bottom in bottoms]
        if tops and not changed and _places(tops) <= _places(bottoms):  # views of the bottoms: nothing moves
            self.works[layer.key] = LayerWork(Work(), Work())
            return
        blobs = layer.module.blobs()
        learned = [blob for blob in blobs if blob.requires_grad]
        shapes = [[tuple(blob.shape) for blob in some] for some in (bottoms, tops)]
        multiply_adds = layer.module.multiply_adds(*shapes)
        # Each gradient costs as much as the forward pass: into the weights, and into the bottoms.
        gradients = bool(learned) + bool(self._learning)
        backward = _size(tops) + _size(self._learning) + _size(learned)
        backward += (_size(bottoms) if learned else 0) + (_size(blobs) if self._learning else 0)
        self.works[layer.key] = LayerWork(
            Work(multiply_adds, _size(bottoms) + _size(tops) + _size(blobs)), Work(gradients * multiply_adds, backward)
        )


def _places(blobs: Iterable[Tensor]) -> set[int]:
    return {blob.untyped_storage().data_ptr() for blob in blobs}


def _size(blobs: Iterable[Tensor]) -> int:
    return sum(blob.nbytes for blob in blobs)
