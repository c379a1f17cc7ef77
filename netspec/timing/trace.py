"""Records an iteration of a net operation by operation, for chrome://tracing and Perfetto."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile, record_function

from netspec.files import write_whole
from netspec.net import Net
from netspec.timing.clock import clock_of
from netspec.timing.passes import run_whole


def write_trace(net: Net, inputs: Mapping[str, Tensor], path: str | Path) -> None:
    """Write a Chrome trace (JSON) of one iteration, after one that is not recorded; the forward pass of each layer is a
    range with its name. SnapshotError where the file cannot be written."""
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if net.device.type == "cuda" else [])]
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler's own remarks on GPUs that are not there
    clock = clock_of(net.device)
    run_whole(net, inputs, clock)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Warning: Profiler clears events")  # of several cycles; this is one
        with _named_ranges(net), profile(activities=activities) as profiler:
            run_whole(net, inputs, clock)
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder, "trace.json")
        profiler.export_chrome_trace(str(trace))
        write_whole(Path(path), trace.read_bytes())


@contextmanager
def _named_ranges(net: Net) -> Iterator[None]:
    """Let the forward pass of every layer be a range of the profiler."""
    handles: list[Any] = []
    for layer in net.compiled.layers:
        current = _Range(layer.node.name)
        handles.append(layer.module.register_forward_pre_hook(current.begin))
        handles.append(layer.module.register_forward_hook(current.end))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Range:
    """A range of the profiler, from the begin of a layer's forward pass to its end."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._open = record_function(name)

    def begin(self, module: nn.Module, bottoms: tuple[Tensor, ...]) -> None:
        self._open = record_function(self._name)
        self._open.__enter__()  # type: ignore[no-untyped-call]

    def end(self, module: nn.Module, bottoms: tuple[Tensor, ...], result: object) -> None:
        self._open.__exit__(None, None, None)
