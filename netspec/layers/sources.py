"""What feeds a net: the interface of a batch source, and the table in which every data layer type is found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from netspec.layers.base import Shape
from netspec.schema.netspec_pb2 import LayerParameter, Residence


@dataclass(frozen=True)
class Contents:
    """What a set holds, as far as that is known without its images: a text that changes with names, order, labels and
    sizes of its records, but not with a copy of its files, and the names of its classes by number; empty where unknown.
    """

    path: Path | None = None
    digest: str = ""
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pending:
    """A batch whose tensors lie on the device, and what makes its tops of them: on tensors alone, and by the same
    operations for all batches of one `key`."""

    tensors: Sequence[Tensor]
    make: Callable[[Sequence[Tensor]], tuple[Tensor, ...]] = tuple
    key: object = None

    def tops(self) -> tuple[Tensor, ...]:
        """The tops, one float32 tensor each."""
        return self.make(self.tensors)


class Source(Protocol):
    """The batches of one data layer. What it hands out depends only on the seed and the position."""

    shapes: list[Shape]
    """The shape of each top, the batch included."""
    epoch_size: int
    """How many records the set has."""
    wait_seconds: float
    """How long `next` has waited for batches so far."""

    @property
    def contents(self) -> Contents:
        """What its set holds."""

    @property
    def position(self) -> int:
        """How many records all ranks together handed out; setting it goes on from there."""

    @position.setter
    def position(self, records: int) -> None: ...

    def prepare(self) -> None:
        """Do now what is done once before the first batch and may take long."""

    def reseed(self, seed: int) -> None:
        """Go on from the same position with the draws of another seed."""

    def next(self) -> tuple[Tensor, ...]:
        """The next batch on the device, one float32 tensor a top."""

    def pending(self) -> Pending:
        """The next batch, of which the tops are still to be made."""

    def once(self) -> Iterator[tuple[Tensor, ...]]:
        """Every record exactly once in the order of the set, the last batch short, of which each rank has its share;
        the position stays as it is."""

    def keys(self) -> list[str]:
        """What names each record, in the order of `once`."""

    def check_labels(self, classes: int, ignore: int | None, layer: str, shares: bool = False) -> None:
        """Refuse labels outside 0..classes-1 other than `ignore`; `layer` is the name of the layer they go into. With
        `shares` it takes several labels a record as shares of the classes: refuse what are none."""

    def close(self) -> None:
        """Stop what runs in the background."""


@runtime_checkable
class ArraySource(Source, Protocol):
    """A source of what the program hands over."""

    def set(self, data: Any, labels: Any) -> None:
        """Hand out these images (N, C, H, W) and labels (N) from now on: arrays or tensors. ValueError where they do
        not fit, DataError where a label does not."""


_CPU = torch.device("cpu")


@dataclass(frozen=True)
class SourceContext:
    """What a source depends on besides its message; `find` gives the place of a file that the text names.

    Of `ranks` processes that train together each has a source of its own: of each `ranks` batches that follow each
    other the one of `rank`, from 0, is handed out. The batches of all in turn are those of a process alone.
    """

    phase: int
    seed: int = 0
    device: torch.device = _CPU
    find: Callable[[str], Path] = Path
    rank: int = 0
    ranks: int = 1
    residence: Residence.Kind = Residence.AUTO
    """Where decoded images lie, where the layer does not say."""

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.ranks:
            raise ValueError(f"rank {self.rank} of {self.ranks} ranks: they count from 0")


SourceType = Callable[[LayerParameter, SourceContext], Source]
"""How a source is built. LayerError on a wrong message."""

SOURCE_TYPES: dict[str, SourceType] = {}

_Built = TypeVar("_Built", bound=SourceType)


def source(name: str) -> Callable[[_Built], _Built]:
    """Register a class as the data layer type `name`."""

    def register(cls: _Built) -> _Built:
        SOURCE_TYPES[name] = cls
        return cls

    return register


def image_size(param: LayerParameter) -> tuple[int, int]:
    """Height and width of a data layer's images where its text alone gives them, else zeros."""
    transform, images = param.transform_param, param.image_data_param
    if transform.output_size:
        return transform.output_size[0], transform.output_size[-1]
    if crop := transform.crop_size:
        return crop, crop
    if param.HasField("memory_data_param"):
        return param.memory_data_param.height, param.memory_data_param.width
    before_pad = transform.resize or (images.new_height, images.new_width)
    if not before_pad[0]:
        return 0, 0
    return before_pad[0] + 2 * transform.pad, before_pad[-1] + 2 * transform.pad
