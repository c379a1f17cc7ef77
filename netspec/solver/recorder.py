"""What records the work of a function on a device, so that it can be replayed at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import torch
from torch import cuda

T = TypeVar("T")


class Recorder(Protocol):
    """Records functions of no arguments that read and write tensors that keep their place."""

    def warm_up(self, function: Callable[[], T]) -> T:
        """Run a function on the stream on which it will be recorded: what libraries prepare for it is then there."""

    def record(self, function: Callable[[], T]) -> tuple[Callable[[], None], T]:
        """A function's work, to be replayed as often as wanted, and what it returned: tensors that each replay
        overwrites. Nothing is computed yet. RuntimeError where the function waits for the device, or does what cannot
        be recorded."""


class CudaRecorder:
    """Records CUDA graphs. Each has its own memory; dropout draws as it would without: the graph takes its numbers from
    torch's generator, and moves it on by as many as an iteration takes."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._stream = device, cuda.Stream(device)  # type: ignore[no-untyped-call]

    def warm_up(self, function: Callable[[], T]) -> T:
        current = cuda.current_stream(self._device)
        self._stream.wait_stream(current)
        with cuda.stream(self._stream):
            result = function()
        current.wait_stream(self._stream)
        return result

    def record(self, function: Callable[[], T]) -> tuple[Callable[[], None], T]:
        graph = cuda.CUDAGraph()
        # Other threads, which prepare batches, may go on using the device meanwhile.
        with cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            result = function()
        return graph.replay, result
