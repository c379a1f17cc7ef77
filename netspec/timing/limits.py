"""What a machine can do at most, measured in about half a second: products, convolutions and copies."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import astuple, dataclass

import torch
from torch.nn import functional as F

from netspec.precision import cast_type
from netspec.schema.netspec_pb2 import Precision
from netspec.timing.clock import clock_of
from netspec.timing.work import Work

_SECONDS = 0.15  # of each measurement


@dataclass(frozen=True)
class Rates:
    """Operations a second of a large matrix product and of a 3x3 convolution, two for each multiply-add; bytes a second
    that a copy too large for the caches reads and writes."""

    product: float
    convolution: float
    copy: float

    def best(self, other: Rates) -> Rates:
        """The higher of the rates that were measured at two times: something else may have run at one of them."""
        return Rates(*map(max, astuple(self), astuple(other)))

    def least_seconds(self, work: Work) -> float:
        """The least that some work can take: of computing and moving, the one that takes longer."""
        return max(self.computing_seconds(work), self.moving_seconds(work))

    def computing_seconds(self, work: Work) -> float:
        """The least that its multiply-adds can take."""
        return 2 * work.multiply_adds / max(self.product, self.convolution)

    def moving_seconds(self, work: Work) -> float:
        """The least that reading and writing its blobs can take, where no cache holds them."""
        return work.bytes / self.copy


def measure_rates(device: torch.device, precision: Precision.Kind) -> Rates:
    """The rates of a device in a precision: the best of a few runs."""
    large = device.type == "cuda"
    side, images = (8192, 256) if large else (1024, 16)
    size = 1 << (30 if large else 28)
    kind = cast_type(precision)
    matrix = torch.rand(side, side, device=device, dtype=kind)
    blob = torch.rand(images, 128, 28, 28, device=device).to(kind, memory_format=torch.channels_last)
    weight = torch.rand(128, 128, 3, 3, device=device).to(kind, memory_format=torch.channels_last)
    source = torch.zeros(size, device=device, dtype=torch.uint8)
    target = torch.zeros_like(source)
    with torch.no_grad():
        product = _best(device, lambda: matrix @ matrix)
        convolution = _best(device, lambda: F.conv2d(blob, weight, padding=1))
        copy = _best(device, lambda: target.copy_(source))
    multiply_adds = blob.numel() * weight[0].numel()
    return Rates(2 * side**3 / product, 2 * multiply_adds / convolution, 2 * size / copy)


def _best(device: torch.device, run: Callable[[], object]) -> float:
    """The least seconds of several runs, after two that nobody looks at."""
    clock, times = clock_of(device), list[float]()
    for _ in range(2):
        run()
    end = time.perf_counter() + _SECONDS
    while not times or time.perf_counter() < end:
        clock.start()
        run()
        clock.stop(len(times))
        clock.settle()
        times.append(clock.seconds[len(times)])
    return min(times)
