"""What records the work of a function, so that it can be replayed without the Python around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Generic, Protocol, TypeVar

import torch
from torch import cuda

from netspec.solver.operations import Operations, Program
from netspec.tracing import recorded

T = TypeVar("T")


@dataclass(frozen=True)
class Recording(Generic[T]):
    """What a function returned while it was recorded, and what does its work again; or the `reason` why nothing
    does."""

    result: T
    replay: Callable[[], T] | None
    reason: str = ""


class Recorder(Protocol):
    """Records functions of no arguments that read and write tensors that keep their place."""

    warm_ups: ClassVar[int]
    """Runs of a function before it is recorded."""

    takes_all: ClassVar[bool]
    """Whether the updates of iterations and the passes of test nets are recorded as well. On a CPU the loss is looked
    at before an update, and a forward pass gains less than its recording costs."""

    def warm_up(self, function: Callable[[], T]) -> T:
        """Run a function as it will be recorded: what libraries prepare for it is then there."""

    def record(self, function: Callable[[], T]) -> Recording[T]:
        """Run a function once more, and record its work where that is possible: where it reads no value of a tensor,
        and does nothing else that its device cannot repeat. Each replay may overwrite what the one before returned."""


class CudaRecorder:
    """Records CUDA graphs. Each has its own memory; dropout draws as it would without: the graph takes its numbers from
    torch's generator, and moves it on by as many as an iteration takes."""

    warm_ups: ClassVar[int] = 3  # libraries choose their algorithms in them
    takes_all: ClassVar[bool] = True

    def __init__(self, device: torch.device) -> None:
        self._device, self._stream = device, cuda.Stream(device)  # type: ignore[no-untyped-call]

    def warm_up(self, function: Callable[[], T]) -> T:
        current = cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with cuda.stream(self._stream):
            result = function()
        current.wait_stream(self._stream)
        return result

    def record(self, function: Callable[[], T]) -> Recording[T]:
        graph = cuda.CUDAGraph()
        try:
            # Other threads, which prepare batches, may go on using the device meanwhile.
            with cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
                result = function()
        except RuntimeError as error:
            return Recording(function(), None, str(error).splitlines()[0])

        def replay() -> T:
            graph.replay()
            return result

        return Recording(replay(), replay)  # the graph has computed nothing yet


class CpuRecorder:
    """Records the operations of PyTorch, which compute the same to the bit when they are called one after another
    without layers and without autograd. Memory is taken and given back as before."""

    warm_ups: ClassVar[int] = 1
    takes_all: ClassVar[bool] = False

    def __init__(self) -> None:
        self._before: Program | str = ""

    def warm_up(self, function: Callable[[], T]) -> T:
        self._before, result = _followed(function)
        return result

    def record(self, function: Callable[[], T]) -> Recording[T]:
        program, result = _followed(function)
        if isinstance(program, str):
            return Recording(result, None, program)
        if isinstance(self._before, str) or not program.is_same(self._before):
            return Recording(result, None, "it does not do the same in each iteration")

        def replay() -> T:
            try:
                with torch.no_grad():
                    again: T = program()
                    return again
            except (IndexError, RuntimeError):
                return function()

        return Recording(result, replay)


def _followed(function: Callable[[], T]) -> tuple[Program | str, T]:
    """The operations of a function, or why they cannot be done again, and what it returns. What fails is done once
    more without: there errors are for people."""
    operations = Operations()
    try:
        with recorded(), operations:
            result = function()
    except (IndexError, RuntimeError) as error:
        return str(error), function()
    return operations.program(result) or operations.reason, result


def recorder_of(device: torch.device) -> Recorder:
    """What records on a device."""
    return CudaRecorder(device) if device.type == "cuda" else CpuRecorder()
