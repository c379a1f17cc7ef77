"""How work is recorded: as CUDA graphs, on what stands for torch.cuda where there is no GPU, and on a CPU."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from netspec.errors import DataError
from netspec.solver import recorder
from netspec.solver.recorder import CpuRecorder, CudaRecorder, recorder_of
from netspec.tracing import is_traced

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

    def CUDAGraph(self) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(replay=lambda: self.events.append("replay"))

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
    recording = CudaRecorder(DEVICE).record(lambda: cuda.events.append("work") or 3)
    assert recording.replay is not None and (recording.result, recording.replay()) == (3, 3)
    assert cuda.events == ["recorded on side, thread_local", "work", "recorded", "replay", "replay"]


def test_what_no_graph_takes_is_done_without(cuda: Cuda) -> None:
    """A function that fails while a graph is recorded is run as it is, with the first line of what was wrong."""

    def function() -> int:
        cuda.events.append("work")
        if len(cuda.events) == 2:
            raise RuntimeError("operation not permitted\nand more")
        return 3

    recording = CudaRecorder(DEVICE).record(function)
    assert (recording.result, recording.replay, recording.reason) == (3, None, "operation not permitted")


def test_each_device_has_its_recorder(cuda: Cuda) -> None:
    """A GPU has graphs, a CPU has operations."""
    assert isinstance(recorder_of(DEVICE), CudaRecorder)
    assert isinstance(recorder_of(torch.device("cpu")), CpuRecorder)


def test_a_cpu_runs_a_function_twice() -> None:
    """It is traced in a warm-up and while it is recorded; replays do its operations without it."""
    tensor, calls = torch.ones(2), []

    def function() -> torch.Tensor:
        calls.append(is_traced())
        return tensor * 2

    on_cpu = CpuRecorder()
    assert on_cpu.warm_up(function).tolist() == [2, 2]
    recording = on_cpu.record(function)
    tensor.fill_(3)
    assert recording.result.tolist() == [2, 2]
    assert recording.replay is not None and recording.replay().tolist() == [6, 6]
    assert calls == [True, True] and not is_traced()


def test_what_fails_on_a_cpu_is_run_once_more_as_it_is() -> None:
    """Untraced it says what is wrong, in a replay as at any time before."""
    tensor = torch.zeros(1, dtype=torch.int64)

    def function() -> torch.Tensor:
        if not is_traced() and tensor.item() > 2:
            raise DataError("there are three")
        return torch.arange(3).index_select(0, tensor)

    on_cpu = CpuRecorder()
    on_cpu.warm_up(function)
    recording = on_cpu.record(function)
    tensor.fill_(3)
    for run in (recording.replay, lambda: on_cpu.warm_up(function), lambda: on_cpu.record(function)):
        assert run is not None
        with pytest.raises(DataError, match="there are three"):
            run()


def test_a_cpu_refuses_without_running_again() -> None:
    """A function that reads values, or does something else each time, has had its effects once a call."""
    count = torch.zeros(())

    def reads() -> float:
        return count.add_(1).item()

    def differs() -> torch.Tensor:
        return count.add_(1).mul(float(count.numpy()))

    for function, reason in ((reads, "looks at values"), (differs, "does not do the same")):
        count.zero_()
        on_cpu = CpuRecorder()
        on_cpu.warm_up(function)
        recording = on_cpu.record(function)
        assert count == 2 and recording.replay is None and reason in recording.reason
