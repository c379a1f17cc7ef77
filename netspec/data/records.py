"""The decoded records of a store: each one decoded once where there is room to keep it."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from concurrent.futures import CancelledError
from functools import partial
from pathlib import Path
from threading import Event, Lock
from typing import Protocol

import numpy as np

from netspec.data.buffers import Buffers
from netspec.data.cache import Set, cache_file, has_room, open_set, remove_abandoned, write_set
from netspec.data.datum import Pixels
from netspec.data.labels import Label, LabelRule, Labels
from netspec.data.order import Indices
from netspec.data.thread_pool import in_order, thread_pool
from netspec.errors import DataError
from netspec.schema.netspec_pb2 import DataParameter

MEMORY_LIMIT = 256 << 20

_PART = 256

_FEW_BYTES = 1 << 20
"""Of decoded images: so few are there before threads have begun."""

_log = logging.getLogger("netspec")


class ChangedError(DataError):
    """A file is no longer what it was: no damage, and nothing to leave out."""


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

    @property
    def label_shape(self) -> tuple[int, ...]:
        """That of a record's label: () for one number, else (K,)."""

    def image(self, index: int, colour: bool | None) -> tuple[Pixels, Label]:
        """The image of a record, BGR or grey as `colour` says (None: as it is), and its label or labels; DataError."""

    def where(self, index: int) -> str:
        """How messages name a record."""

    def key(self, index: int) -> str:
        """What names a record in the store."""


class Records:
    """The images and labels of a store.

    `colour` says what encoded images become (BGR, grey); None takes all in colour where the first one is, as they are
    otherwise. `cache` is DataParameter's. `shape` is the first image's (C, H, W); all must have its channels and dtype.
    """

    def __init__(self, store: Store, colour: bool | None = None, cache: int = DataParameter.AUTO) -> None:
        self.store = store
        self._cache = cache
        self._colour = colour
        first, _ = self._read_image(0)
        self.shape: tuple[int, ...] = first.shape
        self.label_shape = store.label_shape
        self._dtype = first.dtype
        if colour is None:
            self._colour = colour_like(first)
        self._rules: list[LabelRule] = []
        self._lock = Lock()
        self._looked = False
        self._kept: Set | None = None
        self._in_memory = False
        self._is_over = Event()
        self._buffers = Buffers()

    def __len__(self) -> int:
        return len(self.store)

    def check_labels(self, rule: LabelRule) -> None:
        """Hold every label against a rule: now where all are known or the set is kept (it is decoded for that), else
        when it is read. Several labels an image are no classes, but may be their shares."""
        if self.label_shape and not rule.shares:
            return
        known = self.store.labels
        if known is None and (kept := self.kept()) is not None:
            known = kept[1]
        if known is None:
            self._rules.append(rule)
        else:
            rule.hold(known, self.where)

    def where(self, index: int) -> str:
        """How messages name a record."""
        return self.store.where(index)

    def keys(self) -> list[str]:
        """What names each record, in order."""
        return [self.store.key(index) for index in range(len(self))]

    def fetch(self, indices: Indices) -> tuple[Pixels | list[Pixels], Labels]:
        """The images (N, C, H, W) of some records, a list where their sizes differ, and their labels."""
        kept = self.kept()
        if kept is not None:
            images = self._buffers.take((len(indices), *self.shape), self._dtype)
            kept[0].take(indices, 0, images, "clip")  # "raise" would make a copy more
            return images, kept[1][indices]
        decoded, labels = self._read(indices)
        for rule in self._rules:
            rule.hold(labels, lambda place: self.where(int(indices[place])))
        return (np.stack(decoded) if len({image.shape for image in decoded}) == 1 else decoded), labels

    @property
    def nbytes(self) -> int:
        """How large the decoded images are, if all have the size of the first."""
        return len(self) * math.prod(self.shape) * self._dtype.itemsize

    def hold_in_memory(self) -> None:
        """Keep the set in memory, however large it is, and in no file; DataError from `kept` where that cannot be."""
        self._in_memory = True

    def kept(self) -> Set | None:
        """The whole set, decoded by the first caller; None where it is not kept."""
        with self._lock:
            if not self._looked:
                try:
                    self._kept = self._find_or_decode()
                except _SizesDifferError:
                    if self._in_memory:
                        raise DataError(f"{self.store.path}: residence: DEVICE needs images of one size") from None
                    _log.info("%s: images of several sizes; they are decoded as they are used", self.store.path)
                self._looked = True
            return self._kept

    def _find_or_decode(self) -> Set | None:
        if self._cache == DataParameter.OFF:
            return None
        if self._in_memory or self.nbytes <= MEMORY_LIMIT:
            images = np.empty((len(self), *self.shape), self._dtype)
            return images, np.concatenate([labels for _, labels in self._parts(images)])
        return self._find_or_write() if self.store.identity else None

    def _find_or_write(self) -> Set | None:
        key = f"{self.store.identity} colour={self._colour}"
        path = cache_file(f"{self.store.path.resolve()} {self._colour} {self.shape}")
        if (found := open_set(path, key)) is not None:
            return found
        remove_abandoned(path.parent)
        try:
            if not has_room(path, self.nbytes):
                raise OSError("too little room is free there")
            _log.info("%s: decoding %d records once into %s (%d bytes)", self.store.path, len(self), path, self.nbytes)
            write_set(path, key, (len(self), *self.shape), self._dtype, self.label_shape, self._parts())
        except OSError as error:
            reason = f"{self.store.path}: {self.nbytes} bytes of decoded images cannot be kept in {path}: {error}"
            if self._cache == DataParameter.ON:
                raise DataError(f"{reason}; set NETSPEC_CACHE to a roomier folder, or cache: OFF") from None
            _log.warning("%s; they are decoded as they are used", reason)
            return None
        return open_set(path, key)

    def _parts(self, whole: Pixels | None = None) -> Iterator[Set]:
        """The set in order, decoded by a few threads where it is worth it, into `whole` where it is given."""
        self._is_over = Event()
        work, starts = partial(self._part, whole=whole), range(0, len(self), _PART)
        if self.nbytes <= _FEW_BYTES:
            yield from map(work, starts)
            return
        with thread_pool() as pool:
            try:
                yield from in_order(pool, work, starts)
            finally:  # before the pool waits for its threads: they leave the parts that they are at
                self._is_over.set()

    def _part(self, start: int, whole: Pixels | None = None) -> Set:
        indices = range(start, min(start + _PART, len(self)))
        into = np.empty((len(indices), *self.shape), self._dtype) if whole is None else whole[start : indices.stop]
        labels = []
        for place, index in zip(into, indices, strict=True):
            if self._is_over.is_set():
                raise CancelledError
            image, label = self._record(index)
            if image.shape != self.shape:
                raise _SizesDifferError
            place[...] = image
            labels.append(label)
        return into, self._array(labels)

    def _read(self, indices: Indices) -> tuple[list[Pixels], Labels]:
        records = [self._record(index) for index in indices.tolist()]
        return [image for image, _ in records], self._array([label for _, label in records])

    def _array(self, labels: list[Label]) -> Labels:
        return np.array(labels, np.float64).reshape(len(labels), *self.label_shape)

    def _read_image(self, index: int) -> tuple[Pixels, Label]:
        """The image of a record and its label; what is said of damage names the way out."""
        try:
            return read_image(self.store, index, self._colour)
        except ChangedError:
            raise
        except DataError as error:
            raise DataError(f"{error}; skip_damaged: N in the layer leaves up to N such records out") from None

    def _record(self, index: int) -> tuple[Pixels, Label]:
        image, label = self._read_image(index)
        if len(image) != self.shape[0] or image.dtype != self._dtype:
            raise DataError(
                f"{self.where(index)} has {len(image)} channels of {image.dtype}, the first record "
                f"{self.shape[0]} of {self._dtype}; force_color or force_gray makes encoded images alike"
            )
        return image, label


def read_image(store: Store, index: int, colour: bool | None) -> tuple[Pixels, Label]:
    """The image of a record and its label; whatever goes wrong becomes a DataError that names the record."""
    try:
        return store.image(index, colour)
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{store.where(index)}: {type(error).__name__}: {error}") from error


def colour_like(first: Pixels) -> bool | None:
    """What the images of a set become where nothing says it: BGR where the first is, else (None) what they are."""
    return len(first) == 3 or None
