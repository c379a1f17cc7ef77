"""What a layer type is, and the table in which every type is found by its name."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from netspec.fillers import fill
from netspec.schema.netspec_pb2 import FillerParameter, LayerParameter

Shape = tuple[int, ...]
Count = int | tuple[int, int | None]

LARGEST_COUNT = 2**60
"""Values that a blob may have: PyTorch counts their bytes in 63 bits."""


class LayerError(ValueError):
    """A layer's message or its bottoms' shapes make no sense; the net adds file and line.

    `field` is the path of the guilty field inside the layer, e.g. ``("pooling_param", "kernel_size")``. With `wrong`
    and `known`, the hint names the known name that is nearest to the wrong one.
    """

    def __init__(self, reason: str, *field: str, wrong: str = "", known: Iterable[str] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.field = field
        self.wrong, self.known = wrong, known


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

    allows_in_place = True
    """Whether a top may have the name of the bottom at its place; false for the few types that Caffe refuses."""

    takes_16_bits = False
    """Whether forward is as good on bottoms of 16 bits, when the net computes in BF16 or FP16. Where not, because sums,
    logarithms or indices would suffer, the bottoms become float32 before."""

    has_effect = False
    """Whether forward does more than make tops (writes a file), so that it runs although nobody reads them."""

    carries_state = False
    """Whether a pass may depend on the one before in more than blobs (states over time, the user's code), so that
    nobody may run another in between, nor replay one."""

    unforced: int | None = None
    """The bottom that a net's `force_backward` leaves out: labels and the like."""

    is_loss = False
    """Whether the first top counts toward the loss with weight 1 when the text gives no `loss_weight`."""

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__()
        self.name = str(param.name)
        self.blob_names: list[str] = []
        self.blob_fillers: dict[str, FillerParameter] = {}

    def add_blob(self, name: str, shape: Sequence[int], filler: FillerParameter, learnable: bool = True) -> None:
        """Declare the next blob, in Caffe's order; a blob that is not learnable is a state that forward updates."""
        if math.prod(shape) > LARGEST_COUNT:
            raise LayerError(f"the blob {name} would have the shape {tuple(shape)}, more than any memory holds")
        empty = torch.empty(tuple(shape), device="meta")
        if learnable:
            self.register_parameter(name, nn.Parameter(empty))
        else:
            self.register_buffer(name, empty)
        self.blob_names.append(name)
        self.blob_fillers[name] = filler

    def open_files(self, find: Callable[[str], Path]) -> None:
        """Read the files that the message names, before the first forward; `find` gives the place of each."""

    def blobs(self) -> list[Tensor]:
        """The layer's blobs, learnable or state, in Caffe's order."""
        return [getattr(self, name) for name in self.blob_names]

    def loaded(self) -> str:
        """Put right what a fork stores in another way, once blobs have come from a file; returns what was done."""
        return ""

    def fill_blob(self, name: str, blob: Tensor) -> None:
        """Give a new blob its first values; FillerError where its filler makes no sense."""
        fill(blob, self.blob_fillers[name])

    def multiply_adds(self, bottoms: Sequence[Shape], tops: Sequence[Shape]) -> int:
        """The multiply-adds of one forward pass; 0 for layers whose cost nobody counts."""
        return 0


@dataclass(frozen=True)
class LayerType:
    """A registered type: its class, how many bottoms and tops it takes (a number, or least and most), and whether it
    runs code of the user's, which must be allowed."""

    build: type[Layer]
    bottoms: Count
    tops: Count
    runs_code: bool = False


LAYER_TYPES: dict[str, LayerType] = {}


def layer(
    name: str, bottoms: Count = 1, tops: Count = 1, runs_code: bool = False
) -> Callable[[type[Layer]], type[Layer]]:
    """Register a class as the layer type `name`. A count is a number, or (least, most) with None for no limit."""

    def register(cls: type[Layer]) -> type[Layer]:
        LAYER_TYPES[name] = LayerType(cls, bottoms, tops, runs_code)
        return cls

    return register
