"""Adds up how long things take that run again and again."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Hashable

import torch


class Clock:
    """The seconds between `start` and `stop`, summed by key, on a device that has done its work when a call returns."""

    def __init__(self) -> None:
        self.seconds: defaultdict[Hashable, float] = defaultdict(float)
        self._started = 0.0

    def start(self) -> None:
        """Begin, or begin again."""
        self._started = time.perf_counter()

    def stop(self, key: Hashable) -> None:
        """Add what went by since `start`."""
        self.seconds[key] += time.perf_counter() - self._started

    def settle(self) -> None:
        """Wait until all that was stopped is in `seconds`."""


class CudaClock(Clock):
    """The same by CUDA events: what the device took, and what it waited for its next kernel in between."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self._device = device
        self._first = self._event()
        self._spans: list[tuple[Hashable, torch.cuda.Event, torch.cuda.Event]] = []

    def start(self) -> None:
        self._first = self._event()

    def stop(self, key: Hashable) -> None:
        self._spans.append((key, self._first, self._event()))

    def settle(self) -> None:
        torch.cuda.synchronize(self._device)
        for key, first, last in self._spans:
            self.seconds[key] += first.elapsed_time(last) / 1000  # it counts milliseconds
        self._spans.clear()

    def _event(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self._device))
        return event


def clock_of(device: torch.device) -> Clock:
    """The clock for what runs on a device."""
    return CudaClock(device) if device.type == "cuda" else Clock()
