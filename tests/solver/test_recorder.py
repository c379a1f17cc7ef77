"""How CUDA graphs are recorded, on what stands for torch.cuda where there is no GPU."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from netspec.solver import recorder
from netspec.solver.recorder import CudaRecorder

DEVICE = torch.device("cuda", 0)


class Stream:
    """Notes what it waits for."""

    def __init__(self, events: list[str], name: str) -> None:
        self._events, self.name = events, name

    def wait_stream(self, other: "Stream") -> None:
        self._events.append(f"{self.name} waits for {other.name}")


class Cuda:
    """Notes what is done on which stream."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self._current, self._side = Stream(self.events, "current"), Stream(self.events, "side")

    def Stream(self, device: torch.device) -> Stream:  # noqa: N802
        return self._side

    def current_stream(self, device: torch.device) -> Stream:
        return self._current

    @contextmanager
    def stream(self, stream: Stream) -> Iterator[None]:
        self.events.append(f"on {stream.name}")
        yield
        self.events.append("off")

    class CUDAGraph:
        def replay(self) -> None:
            pass

    @contextmanager
    def graph(self, graph: object, **kwargs: Any) -> Iterator[None]:
        inspect.signature(torch.cuda.graph).bind(graph, **kwargs)
        self.events.append(f"recorded on {kwargs['stream'].name}, {kwargs['capture_error_mode']}")
        yield
        self.events.append("recorded")


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Cuda:
    stand_in = Cuda()
    monkeypatch.setattr(recorder, "cuda", stand_in)
    return stand_in


def test_a_warm_up_stays_in_order(cuda: Cuda) -> None:
    """The side stream begins after what came before, and what comes after waits for it."""
    assert CudaRecorder(DEVICE).warm_up(lambda: cuda.events.append("work") or 3) == 3
    assert cuda.events == ["side waits for current", "on side", "work", "off", "current waits for side"]


def test_a_graph_is_recorded_once(cuda: Cuda) -> None:
    """The function runs once, on the stream of the warm-up, while other threads may use the device."""
    replay, result = CudaRecorder(DEVICE).record(lambda: cuda.events.append("work") or 3)
    replay()
    assert result == 3
    assert cuda.events == ["recorded on side, thread_local", "work", "recorded"]
