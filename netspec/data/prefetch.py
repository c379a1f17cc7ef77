"""One background thread that keeps a few items ready."""

from __future__ import annotations

from collections.abc import Iterator
from queue import SimpleQueue
from threading import Semaphore, Thread, current_thread
from typing import Generic, TypeVar

T = TypeVar("T")


class Prefetch(Generic[T]):
    """Runs an iterator ahead in a daemon thread, up to `depth` items.

    What the iterator raises comes out of `next`, its end as StopIteration: a reader never hangs.
    """

    def __init__(self, items: Iterator[T], depth: int) -> None:
        self._items = items
        self._room = Semaphore(max(depth, 1))
        self._ready: SimpleQueue[T | _Raised] = SimpleQueue()
        self._closed = False
        self._thread = Thread(target=self._run, name="netspec prefetch", daemon=True)
        self._thread.start()

    def __iter__(self) -> Prefetch[T]:
        return self

    def __next__(self) -> T:
        item = self._ready.get()
        if isinstance(item, _Raised):
            self._ready.put(item)
            raise item.error
        self._room.release()
        return item

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
