"""Rounds in which several sides train in turn, without those in which the machine had something else to do."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Protocol

import torch

_SLOWER = 1.15  # than the best: something else is running
_TRIES = 3  # times the rounds asked for


@dataclass(frozen=True)
class Settings:
    """What a measurement is told; `batch` is in images, `seconds` about how long each side of a round runs, `mode` what
    the solver is told: exact, default or fast."""

    batch: int
    rounds: int
    seconds: float
    device: str
    mode: str = "default"

    @property
    def kind(self) -> str:
        """That of the device: cpu or cuda."""
        return torch.device(self.device).type


@dataclass(frozen=True)
class Result:
    """One measurement: the images/s of both sides where it is a comparison, and the value that the mark is for, a
    ratio of speeds or a share: the median over the rounds, with the extremes. Of `rounds`, `dropped` did not count."""

    net: str
    what: str
    by_hand: float | None
    netspec: float | None
    value: float
    least: float
    most: float
    mark: str
    met: bool | None
    rounds: int = 0
    dropped: int = 0


def judged(
    net: str,
    what: str,
    values: Sequence[float],
    mark: float | None,
    by_hand: float | None = None,
    netspec: float | None = None,
) -> Result:
    """The result whose value is the median of these; a mark is the least that it should be."""
    value = median(values)
    text, met = ("", None) if mark is None else (f">= {mark:g}", value >= mark)
    return Result(net, what, by_hand, netspec, value, min(values), max(values), text, met)


@dataclass(frozen=True)
class Turn:
    """A side's part of a round: seconds an iteration, and the CPU's seconds in one of the clock's."""

    seconds: float
    load: float


class Side(Protocol):
    """One that trains when it is its turn."""

    def turn(self, iterations: int) -> Turn: ...


class Run(Protocol):
    """A training run that goes a few iterations at a time; `close` ends its background work until it goes on."""

    def step(self, iterations: int) -> None: ...

    def close(self) -> None: ...


class Here:
    """A side whose run is in this process."""

    def __init__(self, run: Run, device: str) -> None:
        self._run, self._device = run, device

    def turn(self, iterations: int) -> Turn:
        """An untimed iteration starts the data, which runs ahead from then on and stops in the end: no side works
        during another's turn, nor begins its own with batches that were made in it."""
        self._run.step(1)
        started, worked = now(self._device), time.process_time()
        self._run.step(iterations)
        seconds, load = now(self._device) - started, time.process_time() - worked
        self._run.close()
        return Turn(seconds / iterations, load / seconds)


@dataclass
class Rounds:
    """The turns of some sides, round by round, and how long a loop that is always the same took before each."""

    turns: list[list[Turn]] = field(default_factory=list)
    calibrations: list[float] = field(default_factory=list)

    @property
    def quiet(self) -> list[int]:
        """The rounds in which the machine was ours: the loop ran as fast as in the best, and every side got as much of
        the CPU. There is always one, if only that with the fastest loop."""
        best = min(self.calibrations)
        loads = [max(turn.load for turn in side) for side in zip(*self.turns, strict=True)]
        found = [
            index
            for index, (turns, seconds) in enumerate(zip(self.turns, self.calibrations, strict=True))
            if seconds <= _SLOWER * best
            and all(turn.load * _SLOWER >= load for turn, load in zip(turns, loads, strict=True))
        ]
        return found or [self.calibrations.index(best)]

    def result(self, name: str, what: str, pair: tuple[int, int], batch: int, mark: float | None) -> Result:
        """The second side of a pair against the first; the value is the median of the ratio of their speeds."""
        quiet = self.quiet
        theirs, ours = ([self.turns[index][side].seconds for index in quiet] for side in pair)
        ratios = [other / own for other, own in zip(theirs, ours, strict=True)]
        result = judged(name, what, ratios, mark, batch / median(theirs), batch / median(ours))
        return replace(result, rounds=len(self.turns), dropped=len(self.turns) - len(quiet))


def run_rounds(sides: Sequence[Side], settings: Settings) -> Rounds:
    """Rounds until as many were quiet as are asked for, or three times as many have been."""
    iterations = [turn_iterations(side, settings.seconds) for side in sides]
    rounds = Rounds()
    for _ in range(_TRIES * settings.rounds):
        rounds.calibrations.append(_calibration())
        rounds.turns.append([side.turn(count) for side, count in zip(sides, iterations, strict=True)])
        if len(rounds.quiet) >= settings.rounds:
            break
    return rounds


def turn_iterations(side: Side, seconds: float) -> int:
    """How many iterations fill a side of a round; the first turn is slow."""
    side.turn(1)
    return max(1, round(seconds / side.turn(1).seconds))


def _calibration() -> float:
    """Seconds that all threads need for products of matrices, the best of three tries."""
    matrix = torch.ones(512, 512)
    return min(_products(matrix) for _ in range(3))


def _products(matrix: torch.Tensor) -> float:
    started = time.perf_counter()
    for _ in range(10):
        torch.mm(matrix, matrix)
    return time.perf_counter() - started


def now(device: str) -> float:
    """The clock's seconds, once the device is done."""
    if device != "cpu":
        torch.cuda.synchronize(device)
    return time.perf_counter()
