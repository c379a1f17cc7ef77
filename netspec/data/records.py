"""The decoded records of a store: each one decoded once where there is room to keep it."""

from __future__ import annotations

import logging
import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Protocol, TypeVar

import numpy as np

from netspec.data.cache import Set, cache_file, has_room, open_set, write_set
from netspec.data.datum import Pixels
from netspec.data.labels import LabelRule, Labels
from netspec.data.order import Indices
from netspec.errors import DataError
from netspec.schema.netspec_pb2 import DataParameter

MEMORY_LIMIT = 256 << 20

_PART = 256
_THREADS = min(4, os.cpu_count() or 1)

_log = logging.getLogger("netspec")
_In = TypeVar("_In")
_Out = TypeVar("_Out")


class _SizesDifferError(Exception):
    """The images are not of one size, so they cannot lie in one array."""


class Store(Protocol):
    """Where encoded or raw images lie; may be read from any thread."""

    path: Path

    @property
    def identity(self) -> str | None:
        """A text that changes when the store does; None where telling would take long: no file then keeps the set."""

    @property
    def labels(self) -> Labels | None:
        """All labels, where they are known without reading every record."""

    def __len__(self) -> int: ...

    def image(self, index: int, colour: bool | None) -> tuple[Pixels, float]:
        """The image of a record, BGR or grey as `colour` says (None: as it is), and its label; DataError."""

    def where(self, index: int) -> str:
        """How messages name a record."""


class Records:
    """The images and labels of a store.

    `colour` says what encoded images become (BGR, grey); None takes all in colour where the first one is, as they are
    otherwise. `cache` is DataParameter's. `shape` is the first image's (C, H, W); all must have its channels and dtype.
    """

    def __init__(self, store: Store, colour: bool | None = None, cache: int = DataParameter.AUTO) -> None:
        self.store = store
        self._cache = cache
        self._colour = colour
        first, _ = store.image(0, colour)
        self.shape: tuple[int, ...] = first.shape
        self._dtype = first.dtype
        if colour is None and len(first) == 3:
            self._colour = True
        self._rules: list[LabelRule] = []
        self._lock = Lock()
        self._looked = False
        self._kept: Set | None = None

    def __len__(self) -> int:
        return len(self.store)

    def check_labels(self, rule: LabelRule) -> None:
        """Hold every label against a rule: now where all are known or the set is kept (it is decoded for that), else
        when it is read."""
        known = self.store.labels
        if known is None and (kept := self._keep()) is not None:
            known = kept[1]
        if known is None:
            self._rules.append(rule)
        else:
            rule.hold(known, self.where)

    def where(self, index: int) -> str:
        """How messages name a record."""
        return self.store.where(index)

    def fetch(self, indices: Indices) -> tuple[Pixels | list[Pixels], Labels]:
        """The images (N, C, H, W) of some records, a list where their sizes differ, and their labels."""
        kept = self._keep()
        if kept is not None:
            return kept[0][indices], kept[1][indices]
        images, labels = self._read(indices)
        for rule in self._rules:
            rule.hold(labels, lambda place: self.where(int(indices[place])))
        return (np.stack(images) if len({image.shape for image in images}) == 1 else images), labels

    def _keep(self) -> Set | None:
        """The whole set, decoded by the first caller; None where it is not kept."""
        with self._lock:
            if not self._looked:
                try:
                    self._kept = self._find_or_decode()
                except _SizesDifferError:
                    _log.info("%s: images of several sizes; they are decoded as they are used", self.store.path)
                self._looked = True
            return self._kept

    def _find_or_decode(self) -> Set | None:
        if self._cache == DataParameter.OFF:
            return None
        if self._size <= MEMORY_LIMIT:
            parts = list(self._parts())
            return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
        return self._find_or_write() if self.store.identity else None

    def _find_or_write(self) -> Set | None:
        key = f"{self.store.identity} colour={self._colour}"
        path = cache_file(f"{self.store.path.resolve()} {self._colour}")
        if (found := open_set(path, key)) is not None:
            return found
        try:
            if not has_room(path, self._size):
                raise OSError("too little room is free there")
            _log.info("%s: decoding %d records once into %s (%d bytes)", self.store.path, len(self), path, self._size)
            write_set(path, key, (len(self), *self.shape), self._dtype, self._parts())
        except OSError as error:
            reason = f"{self.store.path}: {self._size} bytes of decoded images cannot be kept in {path}: {error}"
            if self._cache == DataParameter.ON:
                raise DataError(f"{reason}; set NETSPEC_CACHE to a roomier folder, or cache: OFF") from None
            _log.warning("%s; they are decoded as they are used", reason)
            return None
        return open_set(path, key)

    @property
    def _size(self) -> int:
        return len(self) * math.prod(self.shape) * self._dtype.itemsize

    def _parts(self) -> Iterator[Set]:
        """The set in order, decoded by a few threads."""
        starts = range(0, len(self), _PART)
        with ThreadPoolExecutor(_THREADS) as pool:
            yield from _in_order(pool, self._part, starts)

    def _part(self, start: int) -> Set:
        images, labels = self._read(np.arange(start, min(start + _PART, len(self))))
        if any(image.shape != self.shape for image in images):
            raise _SizesDifferError
        return np.stack(images), labels

    def _read(self, indices: Indices) -> tuple[list[Pixels], Labels]:
        images, labels = [], []
        for index in indices.tolist():
            image, label = self.store.image(index, self._colour)
            images.append(self._checked(index, image))
            labels.append(label)
        return images, np.array(labels, np.float64)

    def _checked(self, index: int, image: Pixels) -> Pixels:
        if len(image) != self.shape[0] or image.dtype != self._dtype:
            raise DataError(
                f"{self.where(index)} has {len(image)} channels of {image.dtype}, the first record "
                f"{self.shape[0]} of {self._dtype}; force_color or force_gray makes encoded images alike"
            )
        return image


def _in_order(pool: ThreadPoolExecutor, work: Callable[[_In], _Out], items: Iterable[_In]) -> Iterator[_Out]:
    """Map over the items with a few of them ahead, so that a slow reader does not fill the memory."""
    items = iter(items)
    pending: deque[Future[_Out]] = deque(pool.submit(work, item) for item in islice(items, 2 * _THREADS))
    while pending:
        result = pending.popleft().result()
        pending.extend(pool.submit(work, item) for item in islice(items, 1))
        yield result
