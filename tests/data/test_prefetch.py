"""Items prepared ahead by a thread."""

import os
import signal
import threading
from itertools import count
from pathlib import Path

import pytest

from netspec.data import prefetch as prefetch_module
from netspec.data.prefetch import Prefetch
from netspec.errors import DataError


def test_items_come_in_order_and_end():
    """What a finite iterator gives comes out in order, and its end is seen every time."""
    prefetch = Prefetch(iter(range(10)), 3)
    assert list(prefetch) == list(range(10))
    assert list(prefetch) == []


def test_stays_as_far_ahead_as_asked():
    """No more than `depth` items are made that nobody took."""
    made, full = [], threading.Event()

    def items():
        for i in count():
            made.append(i)
            if len(made) == 4:
                full.set()
            yield i

    prefetch = Prefetch(items(), 3)
    assert next(prefetch) == 0
    assert full.wait(10)
    prefetch.close()
    assert made == [0, 1, 2, 3]


def test_an_error_in_the_thread_comes_out_every_time():
    """The items before an error come out first; the error is raised again at each later call."""

    def items():
        yield 1
        raise ValueError("broken")

    prefetch = Prefetch(items(), 4)
    assert next(prefetch) == 1
    for _ in range(2):
        with pytest.raises(ValueError, match="broken"):
            next(prefetch)


def test_a_thread_that_is_gone_is_an_error(monkeypatch):
    """In the child of a fork there is no thread: `next` says so, once what was ready is taken, and does not wait."""
    monkeypatch.setattr(prefetch_module, "_LOOK_SECONDS", 0.01)
    ready = threading.Event()

    def items():
        yield 1
        ready.set()
        yield from count()

    prefetch = Prefetch(items(), 1)
    assert next(prefetch) == 1
    assert ready.wait(10)
    child = os.fork()
    if not child:
        signal.alarm(20)
        try:
            for _ in range(5):
                next(prefetch)
        except DataError:
            os._exit(0)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    prefetch.close()


@pytest.mark.parametrize(("origin", "said"), [(None, "no batch has come for"), (Path("a/b"), "come from a/b for")])
def test_a_long_wait_is_told_once(origin, said, monkeypatch, caplog):
    """Where no item comes for long, the log says so and where it comes from, and it is handed out when it comes."""
    monkeypatch.setattr(prefetch_module, "_LOOK_SECONDS", 0.001)
    goes_on = threading.Event()

    def items():
        assert goes_on.wait(10)
        yield 1

    caplog.set_level("WARNING", "netspec")
    caplog.handler.emit = lambda record, emit=caplog.handler.emit: emit(record) or goes_on.set()
    assert list(Prefetch(items(), 1, origin)) == [1]
    assert [message for message in caplog.messages if said in message] == caplog.messages != []


def test_closing_ends_the_thread():
    """After close the thread is gone, also when it was waiting for room, and closing twice does no harm."""
    before = threading.active_count()
    prefetch = Prefetch(count(), 2)
    next(prefetch)
    prefetch.close()
    prefetch.close()
    assert threading.active_count() == before


def test_a_thread_may_close_itself():
    """The garbage collector may run in the thread and close it there: the thread ends."""
    ready, before = threading.Event(), threading.active_count()

    def items():
        assert ready.wait(10)
        prefetch.close()
        yield 1

    prefetch = Prefetch(items(), 1)
    ready.set()
    assert next(prefetch) == 1
    prefetch.close()
    assert threading.active_count() == before
