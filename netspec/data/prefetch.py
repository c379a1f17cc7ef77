"""One background thread that keeps a few items ready."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Semaphore, Thread, current_thread
from typing import Generic, TypeVar

from netspec.errors import DataError

T = TypeVar("T")

_LOOK_SECONDS = 2.0
_LOOKS_BEFORE_A_WARNING = 30

_log = logging.getLogger("netspec")


class Prefetch(Generic[T]):
    """Runs an iterator ahead in a daemon thread, up to `depth` items.

    What the iterator raises comes out of `next`, its end as StopIteration; so does a DataError where the thread is
    gone, as it is in the child of a process that forked. Where an item takes very long, the log says so, and where it
    comes from, if that is given.
    """

    def __init__(self, items: Iterator[T], depth: int, origin: Path | None = None) -> None:
        self._items, self._origin = items, origin
        self._room = Semaphore(max(depth, 1))
        self._ready: SimpleQueue[T | _Raised] = SimpleQueue()
        self._closed = False
        self._thread = Thread(target=self._run, name="netspec prefetch", daemon=True)
        self._thread.start()

    def __iter__(self) -> Prefetch[T]:
        return self

    def __next__(self) -> T:
        item = self._wait()
        if isinstance(item, _Raised):
            self._ready.put(item)
            raise item.error
        self._room.release()
        return item

    def _wait(self) -> T | _Raised:
        looks = 0
        while True:
            try:
                return self._ready.get(timeout=_LOOK_SECONDS)
            except Empty:
                looks += 1
            if not self._thread.is_alive() and self._ready.empty():
                raise DataError("the thread that prepares batches is gone; a process that forks must open its own data")
            if looks == _LOOKS_BEFORE_A_WARNING:
                origin = f" from {self._origin}" if self._origin else ""
                _log.warning("no batch has come%s for %g s; does the storage answer?", origin, looks * _LOOK_SECONDS)

    def close(self) -> None:
        """Stop the thread once the item at work is done; items that nobody took are lost."""
        self._closed = True
        self._room.release()
        if self._thread is not current_thread():  # which it is where the garbage collector runs there
            self._thread.join()

    def _run(self) -> None:
        try:
            while True:
                self._room.acquire()
                if self._closed:
                    return
                self._ready.put(next(self._items))
        except BaseException as error:
            self._ready.put(_Raised(error))


class _Raised:
    """What ended the iterator."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
