"""The Data layer: batches of an LMDB, prepared by one thread in the background."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from netspec.data.batches import Batches, Tops
from netspec.data.lmdb_store import LmdbStore
from netspec.data.mean import read_mean
from netspec.data.records import LabelRule, Records
from netspec.data.transform import Transform
from netspec.layers.base import LayerError, Shape
from netspec.layers.sources import source
from netspec.schema.netspec_pb2 import DataParameter, LayerParameter

_CPU = torch.device("cpu")


@source("Data")
class Feed:
    """The batches of one Data layer; `netspec.layers.sources.Source` says what its members mean.

    Images move to the device as they are stored and are transformed there; on the CPU the background thread does both.
    Raises LayerError on a wrong message, DataError on wrong files.
    """

    def __init__(
        self,
        param: LayerParameter,
        phase: int,
        *,
        seed: int = 0,
        device: torch.device = _CPU,
        find: Callable[[str], Path] = Path,
    ) -> None:
        _refuse(param)
        data, transform = param.data_param, param.transform_param
        self._store = LmdbStore(find(data.source))
        if data.HasField("backend") and data.backend == DataParameter.LEVELDB:
            raise LayerError(f"the backend is LEVELDB, but {self._store.path} is an LMDB", "data_param", "backend")
        self._records = Records(self._store, _colour(param), data.cache)
        self._param, self._phase, self._device = param, phase, device
        self._mean = read_mean(find(transform.mean_file)) if transform.mean_file else None
        self._batches = self._drawn_from(seed)
        self._top_count = len(param.top)
        shapes: list[Shape] = [self._batches.shape, (data.batch_size,)]
        self.shapes = shapes[: self._top_count]
        self.epoch_size = len(self._records)
        self.wait_seconds = 0.0
        self._position = 0
        self._running: Tops | None = None
        self._stop: Callable[[], object] | None = None

    @property
    def position(self) -> int:
        """How many records were handed out, those prepared ahead not counted; setting it goes on from there."""
        return self._position

    @position.setter
    def position(self, records: int) -> None:
        self.close()
        self._position = records

    def reseed(self, seed: int) -> None:
        """Go on from the same position with the draws of another seed."""
        self.close()
        self._batches = self._drawn_from(seed)

    def next(self) -> tuple[Tensor, ...]:
        """The next (data, label), or (data,) for one top."""
        started = time.perf_counter()
        if self._running is None:
            prefetch, self._running = self._batches.start(self._batches.after(self._position))
            # Also stops the thread when the feed is forgotten or the interpreter ends.
            self._stop = weakref.finalize(self, prefetch.close)
        tops = next(self._running)[: self._top_count]
        self._position += self._batches.size
        self.wait_seconds += time.perf_counter() - started
        return tops

    def once(self) -> Iterator[tuple[Tensor, ...]]:
        """Every record exactly once, in order, the last batch short; `position` stays as it is."""
        prefetch, batches = self._batches.start(self._batches.once())
        try:
            for tops in batches:
                yield tops[: self._top_count]
        finally:
            prefetch.close()

    def check_labels(self, classes: int, ignore: int | None, layer: str) -> None:
        """DataError unless every label is in 0..classes-1, or `ignore`; `layer` is where the labels go. In a set too
        large to keep decoded, each is checked when it is read."""
        self._records.check_labels(LabelRule(classes, ignore, layer))

    def close(self) -> None:
        """Stop the thread; `next` starts it again."""
        if self._stop is not None:
            self._stop()
        self._stop = self._running = None

    def _drawn_from(self, seed: int) -> Batches:
        param, records = self._param, self._records
        transform = Transform(param.transform_param, self._phase, records.shape, seed, self._mean)
        return Batches(records, transform, param.data_param, seed, self._device)


def _refuse(param: LayerParameter) -> None:
    if len(param.top) not in (1, 2):
        raise LayerError(f"a Data layer has 1 or 2 tops (images, labels), not {len(param.top)}", "top")
    if not param.data_param.source:
        raise LayerError("source is missing: the folder of the LMDB", "data_param", "source")
    if not param.data_param.batch_size:
        raise LayerError("batch_size is missing or 0", "data_param", "batch_size")
    for field in ("scale", "mean_file", "crop_size", "mirror"):
        if param.data_param.HasField(field):
            raise LayerError(f"{field} has moved: write it in transform_param", "data_param", field)


def _colour(param: LayerParameter) -> bool | None:
    """What encoded images become: BGR, grey, or (None) what they are."""
    transform = param.transform_param
    colour = transform.force_color or param.data_param.force_encoded_color
    if colour and transform.force_gray:
        raise LayerError("give force_color or force_gray, not both", "transform_param", "force_gray")
    return colour or (False if transform.force_gray else None)
