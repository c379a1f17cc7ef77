"""The measurements of the benchmark: netspec and a hand-written loop in one process, in rounds that alternate."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from pathlib import Path
from statistics import median
from typing import Protocol

import torch
from bench_data import CLASSES, ImageFolder, open_loader
from bench_nets import NETS, Batch, Loop
from torch import Tensor, nn

from netspec import Solver
from netspec.data import read_mean
from netspec.layers.activation import Dropout
from netspec.schema.netspec_pb2 import SolverParameter

ZOO = Path(__file__).resolve().parents[1] / "zoo"

_RATE, _DECAY = 0.0005, 0.0005
_CHECKED_ITERATIONS = 4


@dataclass(frozen=True)
class Settings:
    """What all measurements share; `seconds` is about how long each side of a round runs, `channels_last` the layout of
    the hand-written side."""

    batch: int
    rounds: int
    seconds: float
    device: str
    channels_last: bool


@dataclass(frozen=True)
class Result:
    """One measurement: the images/s of both sides where it is a comparison, and the value that the mark is for, a
    ratio of speeds or a share: the median over the rounds, with the extremes."""

    net: str
    what: str
    by_hand: float | None
    netspec: float | None
    value: float
    least: float
    most: float
    mark: str
    met: bool | None


class Side(Protocol):
    """A training run that goes a few iterations at a time; `close` ends its background work until it goes on."""

    def step(self, iterations: int) -> None: ...

    def close(self) -> None: ...


def measure_step(name: str, settings: Settings) -> list[Result]:
    """The speed of training on a resident batch, and the share of it that is neither forward nor backward."""
    solver = _solver(name, settings, "data@TRAIN.type=Resident")
    _fill(solver)
    images, labels = solver.net.sources[0][1].next()
    by_hand = _loop(name, solver, partial(repeat, (images, labels.long())), settings)
    _check_losses(name, by_hand, solver)
    results = [_compare(name, "training on a resident batch", by_hand, solver, settings, 0.98)]
    if settings.device == "cpu":  # a GPU works while the host is ahead: there the clock would show nothing
        shares = [_share_outside(solver) for _ in range(settings.rounds)]
        results.append(_share(name, "  share outside forward and backward", shares))
    return results


def measure_run(name: str, data: Path, files: Path, settings: Settings) -> list[Result]:
    """The speed of a run with its data, and the share of it that waits for data. `data` holds the set as
    tools/get_data.py writes it, `files` its images for the DataLoader."""
    solver = _run(name, data, settings)
    means = read_mean(data / "mean.binaryproto").mean((1, 2)).tolist()[::-1]  # BGR
    images = ImageFolder(files, solver.net.blob_shapes["data"][-1], means)
    by_hand = _loop(name, solver, partial(open_loader, images, settings.batch, settings.device), settings)
    result = _compare(name, "whole run, data included", by_hand, solver, settings, 1.3)
    shares = [_share_waiting(solver, settings) for _ in range(settings.rounds)]
    return [result, _share(name, "  share that waits for data", shares, 0.05)]


def measure_frozen(name: str, data: Path, settings: Settings) -> Result:
    """The speed of a run with its data, against the same run on one batch again and again, which stands by hand's."""
    frozen = _solver(name, settings, "data@TRAIN.type=Resident")
    return _compare(name, "whole run / one batch", frozen, _run(name, data, settings), settings, 0.97)


# --- rounds -----------------------------------------------------------------------------------------------------------


def _compare(name: str, what: str, by_hand: Side, ours: Side, settings: Settings, mark: float) -> Result:
    """Both sides in turn, round by round; the value is the ratio of their speeds."""
    _clock(ours, 1, settings)
    _clock(by_hand, 1, settings)
    iterations = _iterations(by_hand, settings)
    times = [[_clock(side, iterations, settings) for side in (by_hand, ours)] for _ in range(settings.rounds)]
    ratios = [theirs / own for theirs, own in times]
    theirs, own = (settings.batch / median(column) for column in zip(*times, strict=True))
    value = median(ratios)
    return Result(name, what, theirs, own, value, min(ratios), max(ratios), f">= {mark:g}", value >= mark)


def _share(name: str, what: str, shares: list[float], mark: float | None = None) -> Result:
    value = median(shares)
    text, met = ("", None) if mark is None else (f"< {mark:g}", value < mark)
    return Result(name, what, None, None, value, min(shares), max(shares), text, met)


def _iterations(side: Side, settings: Settings) -> int:
    """How many iterations fill a side of a round."""
    return max(1, round(settings.seconds / _clock(side, 1, settings)))


def _clock(side: Side, iterations: int, settings: Settings) -> float:
    """Seconds an iteration. An untimed one starts the data, which runs ahead from then on and stops in the end: neither
    side works during the other's turn, nor begins its own with batches that were made in it."""
    side.step(1)
    started = _now(settings.device)
    side.step(iterations)
    seconds = (_now(settings.device) - started) / iterations
    side.close()
    return seconds


def _now(device: str) -> float:
    if device != "cpu":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _share_waiting(solver: Solver, settings: Settings) -> float:
    """The share of a few iterations in which the solver waits for its data layer."""
    data = solver.net.sources[0][1]
    iterations = _iterations(solver, settings)
    solver.step(1)
    waited, started = data.wait_seconds, _now(settings.device)
    solver.step(iterations)
    share = (data.wait_seconds - waited) / (_now(settings.device) - started)
    solver.close()
    return share


def _share_outside(solver: Solver) -> float:
    """The share of a few iterations that is left without forward and backward; hooks see these begin and end."""
    spans: list[list[float]] = []
    hooks = [solver.net.register_forward_pre_hook(lambda net, inputs: spans.append([time.perf_counter()]))]
    for weight in solver.update.weights:
        hook = weight.register_post_accumulate_grad_hook(lambda _: spans[-1].append(time.perf_counter()))  # type: ignore[no-untyped-call]
        hooks.append(hook)
    started = time.perf_counter()
    solver.step(5)
    whole = time.perf_counter() - started
    for hook in hooks:
        hook.remove()
    return 1 - sum(span[-1] - span[0] for span in spans) / whole


# --- the sides --------------------------------------------------------------------------------------------------------


def _solver(name: str, settings: Settings, *changes: str) -> Solver:
    """netspec's side: a net of the zoo with its data layer changed."""
    param = SolverParameter(
        net=str(ZOO / f"{name}.prototxt"), base_lr=_RATE, lr_policy="fixed", momentum=0.9, weight_decay=_DECAY,
        max_iter=1 << 30, display=20, average_loss=20, random_seed=1,
    )  # fmt: skip
    batch = f"data@TRAIN.data_param.batch_size={settings.batch}"
    return Solver(param, device=settings.device, settings=[batch, *changes])


def _run(name: str, data: Path, settings: Settings) -> Solver:
    """netspec's side with its data."""
    source_field = f"data@TRAIN.data_param.source={data / 'train_lmdb'}"
    mean_field = f"data@TRAIN.transform_param.mean_file={data / 'mean.binaryproto'}"
    return _solver(name, settings, source_field, mean_field)


def _fill(solver: Solver) -> None:
    """Give the weights a size at which the loss depends on every layer: with AlexNet's own it is log 200 at first,
    whatever the layers do."""
    for weight in solver.update.weights:
        if weight.dim() > 1:
            nn.init.kaiming_normal_(weight, nonlinearity="relu")


def _loop(name: str, solver: Solver, open_batches: Callable[[], Iterator[Batch]], settings: Settings) -> Loop:
    """The other side, with the weights of netspec's net."""
    net = NETS[name](CLASSES)
    with torch.no_grad():
        for parameter, param in zip(net.parameters(), solver.net.params, strict=True):
            parameter.copy_(param.tensor)
    layout = torch.channels_last if settings.channels_last else torch.contiguous_format
    return Loop(net, open_batches, _RATE, _DECAY, settings.device, layout)


def _check_losses(name: str, by_hand: Loop, solver: Solver) -> None:
    """End the program unless both sides have the same losses in their first iterations. Dropout rests meanwhile: its
    masks follow the layout in memory, so that one seed gives each side others."""
    resting = [m for net in (by_hand.net, solver.net) for m in net.modules() if isinstance(m, (nn.Dropout, Dropout))]
    losses: list[Tensor] = []
    hook = solver.net.register_forward_hook(lambda net, inputs, out: losses.append(out["loss"].detach()))
    for module in resting:
        module.eval()
    for iteration in range(_CHECKED_ITERATIONS):
        by_hand.step(1)
        solver.step(1)
        theirs, own = float(by_hand.loss), float(losses[-1])
        if not math.isclose(theirs, own, rel_tol=1e-4 if iteration else 1e-5):
            raise SystemExit(f"{name}: in iteration {iteration} the loss is {own} in netspec and {theirs} by hand")
    for module in resting:
        module.train()
    hook.remove()
