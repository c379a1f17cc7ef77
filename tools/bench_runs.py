"""Whole runs, data included: against a hand-written loop with a DataLoader, and against a batch that stays."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from statistics import median

from bench_data import ImageFolder, open_loader
from bench_resident import RESIDENT
from bench_rounds import Here, Result, Run, Settings, now, run_rounds
from bench_steps import open_solver, work_of

from netspec import Solver
from netspec.data import read_mean

FROZEN = {"cpu": 0.97, "cuda": 0.99}
"""The marks of a run with its data against one batch, by the kind of device."""


def measure_run(name: str, data: Path, files: Path, settings: Settings) -> list[Result]:
    """The speed of a run with its data, and the share of it that waits for data. `data` holds the set as
    tools/get_data.py writes it, `files` its images for the DataLoader."""
    solver = _run(name, data, settings)
    means = read_mean(data / "mean.binaryproto").mean((1, 2)).tolist()[::-1]  # BGR
    images = ImageFolder(files, solver.net.blob_shapes["data"][-1], means)
    work = work_of(name, solver, settings)
    by_hand = work.loop(partial(open_loader, images, settings.batch, settings.device))
    result = _compare(name, "whole run, data included", by_hand, solver, settings, 1.3)
    shares = [_share_waiting(solver, settings) for _ in range(settings.rounds)]
    value = median(shares)
    waiting = "  share that waits for data"
    return [result, Result(name, waiting, None, None, value, min(shares), max(shares), "< 0.05", value < 0.05)]


def measure_frozen(name: str, data: Path, settings: Settings) -> Result:
    """The speed of a run with its data, against the same run on one batch again and again, which stands by hand's."""
    frozen = open_solver(name, settings, RESIDENT)
    return _compare(name, "whole run / one batch", frozen, _run(name, data, settings), settings, FROZEN[settings.kind])


def _compare(name: str, what: str, by_hand: Run, ours: Run, settings: Settings, mark: float) -> Result:
    """Both sides in turn, round by round; the value is the ratio of their speeds."""
    rounds = run_rounds([Here(by_hand, settings.device), Here(ours, settings.device)], settings)
    return rounds.result(name, what, (0, 1), settings.batch, mark)


def _share_waiting(solver: Solver, settings: Settings) -> float:
    """The share of a few iterations in which the solver waits for its data layer."""
    data = solver.net.sources[0][1]
    seconds = Here(solver, settings.device).turn(1).seconds
    solver.step(1)
    waited, started = data.wait_seconds, now(settings.device)
    solver.step(max(1, round(settings.seconds / seconds)))
    share = (data.wait_seconds - waited) / (now(settings.device) - started)
    solver.close()
    return share


def _run(name: str, data: Path, settings: Settings) -> Solver:
    """netspec's side with its data."""
    source_field = f"data@TRAIN.data_param.source={data / 'train_lmdb'}"
    mean_field = f"data@TRAIN.transform_param.mean_file={data / 'mean.binaryproto'}"
    return open_solver(name, settings, source_field, mean_field)
