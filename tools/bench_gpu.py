"""How near netspec's fast mode comes to the limits of a GPU: the share of a run in which kernels are at work, and the
speed of large batches against the floor of the arithmetic and the traffic that a net needs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from statistics import median

from bench_resident import RESIDENT
from bench_rounds import Here, Result, Settings, judged, now, turn_iterations
from bench_steps import open_solver, take_forms
from torch.profiler import ProfilerActivity, profile

from netspec import Solver

LARGE_BATCH = 1024
"""In images; smaller ones leave an H100 idle."""

FLOORS = {
    "nin": 1.24, "nin_imagenet": 0.11, "alexnet": 0.15, "resnet18": 0.34, "resnet18_3x3": 4.0, "vgg16": 1.8,
    "googlenet": 0.28, "densenet161": 2.2,
}  # fmt: skip
"""Seconds that an H100 needs at least for 100,000 images, at 798 TFLOP/s in BF16 and 3.0 TB/s."""

_SMALL = {"nin_imagenet", "alexnet", "googlenet"}


def measure_limits(name: str, settings: Settings) -> Iterator[Result]:
    """The share of kernels with the batch of the settings, and that of the floor with a large one."""
    solver, side, iterations = _ready(name, settings)
    shares = [
        _kernel_seconds(solver, iterations, settings.device) / side.turn(iterations).seconds
        for _ in range(settings.rounds)
    ]
    solver.close()
    yield judged(name, "kernel time / wall", shares, 0.97)

    solver, side, iterations = _ready(name, replace(settings, batch=LARGE_BATCH))
    speeds = [LARGE_BATCH / side.turn(iterations).seconds for _ in range(settings.rounds)]
    solver.close()
    shares = [speed * FLOORS[name] / 100_000 for speed in speeds]
    what = f"an H100's floor / step of {LARGE_BATCH}"
    yield judged(name, what, shares, 0.25 if name in _SMALL else 0.4, netspec=median(speeds))


def _ready(name: str, settings: Settings) -> tuple[Solver, Here, int]:
    """A solver whose forms are chosen, its side, and the iterations of a turn."""
    solver = open_solver(name, settings, RESIDENT)
    take_forms(solver)
    side = Here(solver, settings.device)
    return solver, side, turn_iterations(side, settings.seconds)


def _kernel_seconds(solver: Solver, iterations: int, device: str) -> float:
    """What the kernels of an iteration take; not timed meanwhile, since the profiler takes time too."""
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        solver.step(iterations)
        now(device)
    spans = [event.time_range for event in profiler.events() or () if event.device_type.name == "CUDA"]
    return sum((span.elapsed_us() for span in spans), start=0.0) / 1e6 / iterations
