"""A few threads that prepare images, and what they make in the order of what it is made of."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

_THREADS = min(4, os.cpu_count() or 1)

_In = TypeVar("_In")
_Out = TypeVar("_Out")


@contextmanager
def thread_pool() -> Iterator[ThreadPoolExecutor]:
    """A few threads; at the end, after an error or Ctrl-C too, what they have not begun is left."""
    pool = ThreadPoolExecutor(_THREADS)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def in_order(pool: ThreadPoolExecutor, work: Callable[[_In], _Out], items: Iterable[_In]) -> Iterator[_Out]:
    """Map over the items with a few of them ahead, so that a slow reader does not fill the memory."""
    items = iter(items)
    pending: deque[Future[_Out]] = deque(pool.submit(work, item) for item in islice(items, 2 * _THREADS))
    while pending:
        result = pending.popleft().result()
        pending.extend(pool.submit(work, item) for item in islice(items, 1))
        yield result
