"""What a layer type is, and the table in which every type is found by its name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from netspec.schema.netspec_pb2 import FillerParameter, LayerParameter

Shape = tuple[int, ...]
Count = int | tuple[int, int | None]


class LayerError(ValueError):
    """A layer's message or its bottoms' shapes make no sense; the net adds file and line.

    `field` is the path of the guilty field inside the layer, e.g. ``("pooling_param", "kernel_size")``.
    """

    def __init__(self, reason: str, *field: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.field = field


class Layer(nn.Module):
    """One layer type.

    A subclass reads its message and its bottoms' shapes in ``__init__`` and computes in ``forward``, which takes one
    tensor a bottom and returns one tensor a top (a tuple where there are several). Blobs are declared with `add_blob`
    on the meta device; the net allocates and fills them once all shapes are known. What differs between training and
    testing reads ``self.training``, which the net sets by its phase.
    """

    needs_top = True
    """Whether the backward pass reads the tops, so that nobody may overwrite them."""

    in_place = False
    """Set by the compiler where this layer, with its top named as its bottom, may really overwrite the bottom."""

    is_loss = False
    """Whether the first top counts toward the loss with weight 1 when the text gives no `loss_weight`."""

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__()
        self.blob_names: list[str] = []
        self.blob_fillers: dict[str, FillerParameter] = {}

    def add_blob(self, name: str, shape: Sequence[int], filler: FillerParameter, learnable: bool = True) -> None:
        """Declare the next blob, in Caffe's order; a blob that is not learnable is a state that forward updates."""
        empty = torch.empty(tuple(shape), device="meta")
        if learnable:
            self.register_parameter(name, nn.Parameter(empty))
        else:
            self.register_buffer(name, empty)
        self.blob_names.append(name)
        self.blob_fillers[name] = filler

    def blobs(self) -> list[Tensor]:
        """The layer's blobs, learnable or state, in Caffe's order."""
        return [getattr(self, name) for name in self.blob_names]

    def multiply_adds(self, bottoms: Sequence[Shape], tops: Sequence[Shape]) -> int:
        """The multiply-adds of one forward pass; 0 for layers whose cost nobody counts."""
        return 0


@dataclass(frozen=True)
class LayerType:
    """A registered type: its class and how many bottoms and tops it takes (a number, or least and most)."""

    build: type[Layer]
    bottoms: Count
    tops: Count


LAYER_TYPES: dict[str, LayerType] = {}


def layer(name: str, bottoms: Count = 1, tops: Count = 1) -> Callable[[type[Layer]], type[Layer]]:
    """Register a class as the layer type `name`. A count is a number, or (least, most) with None for no limit."""

    def register(cls: type[Layer]) -> type[Layer]:
        LAYER_TYPES[name] = LayerType(cls, bottoms, tops)
        return cls

    return register
