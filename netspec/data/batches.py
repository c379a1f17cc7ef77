"""Batches: which records come next, how they are loaded in the background, and how they reach the device."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from netspec.data.crops import Windows
from netspec.data.labels import LabelRule
from netspec.data.order import Indices
from netspec.data.prefetch import Prefetch
from netspec.errors import DataError
from netspec.layers.base import Shape
from netspec.layers.sources import Pending

Tops = tuple[Tensor, ...]
Loaded = TypeVar("Loaded")


class Batches(ABC, Generic[Loaded]):
    """The batches of one data layer; each depends only on `seed` and on the records handed out before it.

    `shapes` are those of the tops, of which the first gives the batch size; `length` is the number of records. A
    subclass says which records come (`choose`) and how a batch of them is loaded, in the background, and finished, on
    the device.
    """

    def __init__(self, shapes: Sequence[Shape], length: int, seed: int, device: torch.device) -> None:
        self.shapes = list(shapes)
        self.size = next(iter(shapes[0]), 1)
        self.length = length
        self.seed = seed
        self.device = device

    @abstractmethod
    def choose(self, positions: Indices) -> Indices:
        """Which records are handed out at these positions, which follow each other."""

    @abstractmethod
    def load(self, chosen: Indices, positions: Indices) -> Loaded:
        """Some records, in the memory of the CPU."""

    @abstractmethod
    def pin(self, loaded: Loaded) -> Loaded:
        """Prepare what is loaded, in the background, so that it moves to a GPU without waiting, or begin to move it."""

    @abstractmethod
    def finish(self, loaded: Loaded) -> Tops:
        """The tops on the device."""

    def pending(self, loaded: Loaded) -> Pending:
        """What is loaded on the device, before or after its tops are made."""
        return Pending(self.finish(loaded))

    @abstractmethod
    def check_labels(self, rule: LabelRule) -> None:
        """Hold the labels against a rule, at once or as they are loaded."""

    def prepare(self) -> None:
        """Do what is done once before the first batch and may take long, if anything is."""
        return

    def reseed(self, seed: int) -> None:
        """Draw from another seed."""
        self.seed = seed

    def keys(self) -> list[str]:
        """What names each record, in order: its number, where the set has no names."""
        return [f"{index:08d}" for index in range(self.length)]

    def cut(self, windows: Windows) -> None:
        """Cut these K windows out of every image from now on, in place of one: images are (N, K, C, h, w) then.
        DataError where the records are no images."""
        raise DataError("only images can be cut in several ways; these records are taken as they are")

    def at_once(self) -> int:
        """How many batches may be made as one: more than one only where that changes no number."""
        return 1

    def after(self, position: int, rank: int = 0, ranks: int = 1, several: bool = False) -> Iterator[Loaded]:
        """Whole batches without end, after `position` records: of each `ranks` of them the one of `rank`; `several` as
        one, where they may be."""
        records = self.size * (self.at_once() if several and ranks == 1 else 1)
        for first in count(position + rank * self.size, ranks * records):
            positions = np.arange(first, first + records)
            yield self.load(self.choose(positions), positions)

    def once(self, rank: int = 0, ranks: int = 1) -> Iterator[Loaded]:
        """Every record once, in the order of the set, in batches of which the last may be short: of each `ranks` of
        them the one of `rank`."""
        for first in range(rank * self.size, self.length, ranks * self.size):
            chosen = np.arange(first, min(first + self.size, self.length))
            yield self.load(chosen, chosen)

    def start(
        self, batches: Iterator[Loaded], depth: int, origin: Path | None = None
    ) -> tuple[Prefetch[Any], Iterator[Pending]]:
        """Run batches in the background, `depth` of them ahead: what to close in the end, and they on the device.
        `origin` is how the log names where they come from."""
        if self.device.type == "cpu":
            done = Prefetch(map(self.finish, batches), depth, origin)
            return done, map(Pending, _Cut(done, self.size))
        loaded = Prefetch(map(self.pin, batches) if self.device.type == "cuda" else batches, depth, origin)
        return loaded, map(self.pending, loaded)


class _Cut:
    """The batches of `size` records in tops of more of them; of fewer, what there is."""

    def __init__(self, made: Iterator[Tops], size: int) -> None:
        self._made, self._size = made, size
        self._tops: Tops = ()
        self._next = self._end = 0

    def __iter__(self) -> _Cut:
        return self

    def __next__(self) -> Tops:
        if self._next >= self._end:
            self._tops = next(self._made)
            self._next, self._end = 0, len(self._tops[0])
        first, self._next = self._next, self._next + self._size
        return self._tops if self._end <= self._size else tuple(top[first : self._next] for top in self._tops)


class TensorBatches(Batches[Tops]):
    """Batches that are loaded as they are handed out, and only moved to the device."""

    def pin(self, loaded: Tops) -> Tops:
        return tuple(tensor.pin_memory() if tensor.device.type == "cpu" else tensor for tensor in loaded)

    def finish(self, loaded: Tops) -> Tops:
        return tuple(tensor.to(self.device, non_blocking=True) for tensor in loaded)
