"""Damage: records that cannot be read are named, and left out as far as the text allows; changed files are noticed."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cached_property
from itertools import cycle
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from netspec.data.cache import cache_file
from netspec.data.datum import Pixels
from netspec.data.labels import Label, Labels
from netspec.data.order import Indices
from netspec.data.records import ChangedError, Store, colour_like, read_image
from netspec.data.thread_pool import thread_pool
from netspec.errors import DataError, SnapshotError
from netspec.files import write_whole

_PART = 256

_log = logging.getLogger("netspec")
_Item = TypeVar("_Item")
_State = tuple[int, int, int, int]  # device, inode, bytes, nanoseconds


class Sound:
    """Some records of a store, in its order, as a store of their own; messages name them by their place in the
    whole."""

    def __init__(self, store: Store, rows: Indices) -> None:
        self.path = store.path
        self._store, self._rows = store, rows

    @cached_property
    def identity(self) -> str | None:
        """A text that changes when the store does, or other records are left out; None where the store has none."""
        left_out = np.setdiff1d(np.arange(len(self._store)), self._rows).tolist()
        return self._store.identity and f"{self._store.identity} without {left_out}"

    @property
    def labels(self) -> Labels | None:
        """Their labels, where they are known without reading every record."""
        known = self._store.labels
        return None if known is None else known[self._rows]

    @property
    def label_shape(self) -> tuple[int, ...]:
        """That of a record's label."""
        return self._store.label_shape

    def __len__(self) -> int:
        return len(self._rows)

    def image(self, index: int, colour: bool | None = None) -> tuple[Pixels, Label]:
        """The image of a record and its label."""
        return self._store.image(int(self._rows[index]), colour)

    def where(self, index: int) -> str:
        """How messages name a record."""
        return self._store.where(int(self._rows[index]))

    def key(self, index: int) -> str:
        """What names a record in the store."""
        return self._store.key(int(self._rows[index]))


def sound_records(store: Store, colour: bool | None, skip: int) -> Store:
    """The store without the records that cannot be read, of which up to `skip` are left out, each named in the log.

    All records are decoded for this, in colour or grey as `colour` says (None: as the first sound one is), so that
    every process, whatever its part in a run, leaves out the same ones; a file in the cache folder remembers which they
    are. With a `skip` of 0 none is looked at: a damaged record is an error when it is read. Raises DataError where one
    more is damaged, naming it, or all are; ChangedError where a file changes meanwhile.
    """
    if not skip:
        return store
    if colour is None:
        colour = _colour_of(store, skip)
    damaged: list[int] = []
    for index, cause in _remembered(store, colour):
        if len(damaged) == skip:
            raise DataError(f"{cause}; skip_damaged: {skip} allows no more damaged records")
        _log.warning("%s; the record is left out (skip_damaged)", cause)
        damaged.append(index)
    if len(damaged) == len(store):
        raise DataError(f"{store.path}: none of the {len(store)} records can be read")
    return Sound(store, np.delete(np.arange(len(store)), damaged)) if damaged else store


def _colour_of(store: Store, skip: int) -> bool | None:
    """True where the first record that can be read has colour, else None."""
    for index in range(min(skip + 1, len(store))):
        try:
            return colour_like(read_image(store, index, None)[0])
        except ChangedError:
            raise
        except DataError:
            pass
    return None


def _remembered(store: Store, colour: bool | None) -> Iterator[tuple[int, str]]:
    """What `_damaged` finds, or what it found when it came to its end before, in the same store."""
    path = cache_file(f"{store.path.resolve()} {colour} damage").with_suffix(".damage")
    try:
        known: dict[str, Any] = json.loads(path.read_bytes())
        if store.identity is not None and known["store"] == store.identity:
            yield from known["damaged"]
            return
    except (OSError, ValueError, KeyError, TypeError):
        pass  # there is no such file, or none that is of use
    found = []
    for damaged in _damaged(store, colour):
        yield damaged
        found.append(damaged)
    if store.identity is not None:
        with suppress(SnapshotError):  # without it the records are looked at again
            write_whole(path, json.dumps({"store": store.identity, "damaged": found}).encode())


def _damaged(store: Store, colour: bool | None) -> Iterator[tuple[int, str]]:
    """The records that cannot be read and why, in order, found by a few threads."""

    def look(start: int) -> list[tuple[int, str]]:
        found = []
        for index in range(start, min(start + _PART, len(store))):
            try:
                read_image(store, index, colour)
            except ChangedError:
                raise
            except DataError as error:
                found.append((index, str(error)))
        return found

    _log.info("%s: looking for damage in %d records", store.path, len(store))
    with thread_pool() as pool:
        for found in pool.map(look, range(0, len(store), _PART)):
            yield from found


class Watch:
    """Notices that one of some files is no longer what it was when the watch began. Folders are not watched: what
    comes and goes beside the files of a set is no matter."""

    def __init__(self, files: Iterable[Path]) -> None:
        self._files = {file: _state(file) for file in files if not file.is_dir()}

    def over(self, items: Iterator[_Item]) -> Iterator[_Item]:
        """The items, one file looked at before each, in turn, and all of them where making an item fails."""
        turn = cycle(self._files)
        while True:
            if self._files:
                # Before the item: reading what a mapped file no longer has would end the process.
                self._look(next(turn))
            try:
                item = next(items, None)
            except Exception:
                for file in self._files:
                    self._look(file)
                raise
            if item is None:
                return
            yield item

    def _look(self, file: Path) -> None:
        if _state(file) != self._files[file]:
            raise changed(file)


def changed(file: Path | str) -> ChangedError:
    """What is said of a file that is no longer what it was."""
    return ChangedError(f"{file} has changed since it was opened; a run needs it as it was: start again with it")


def _state(file: Path) -> _State:
    try:
        status = file.stat()
    except OSError as error:
        raise DataError(f"{file} was there when it was opened, and is no longer: {error.strerror}") from None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
