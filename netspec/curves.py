"""Reads the figures of a run over its iterations: from its own log.csv, or from lines that it or Caffe logged."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from netspec.errors import DataError
from netspec.schema.netspec_pb2 import SolverParameter
from netspec.solver import run_folder
from netspec.solver.check import check_solver
from netspec.solver.display import columns
from netspec.solver.rates import learning_rate
from netspec.solver.run_log import read_log
from netspec.spec import Document

Points = dict[int, float]
"""Values by iteration."""


@dataclass(frozen=True)
class Curves:
    """The figures of one run, named as the columns of a log: "loss", "lr", "train accuracy", "test 1 accuracy"."""

    name: str
    points: dict[str, Points]


def read_curves(run: str | Path) -> Curves:
    """The figures of a run: its log.csv or the folder with it, the prefix of its snapshots, or a text that `caffe
    train` or tools/solve.py logged. DataError where there are none."""
    path = _log_of(Path(run))
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            is_table = file.readline().startswith("iteration,")
            points = _of_table(path) if is_table else _of_lines(file)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    if not points:
        raise DataError(f"{path}: there are no figures of a run in it")
    return Curves(str(run), {name: dict(sorted(values.items())) for name, values in points.items()})


def _log_of(run: Path) -> Path:
    """The file with the figures of a run that is named by it, by its folder, or by its snapshots."""
    if run.is_file():
        return run
    if not run.is_dir():
        files = run_folder.find(str(run))
        if files is None:
            raise DataError(f"{run}: this is no log, no folder with one, and no prefix of a run's snapshots")
        return files.file(run_folder.LOG)
    logs = [run / run_folder.LOG] if (run / run_folder.LOG).exists() else sorted(run.glob(f"*_{run_folder.LOG}"))
    if len(logs) != 1:
        names = f"name one of {', '.join(log.name for log in logs)}" if logs else f"there is no {run_folder.LOG} in it"
        raise DataError(f"{run}: {names}")
    return logs[0]


def _of_table(path: Path) -> dict[str, Points]:
    points: dict[str, Points] = defaultdict(dict)
    for row in read_log(path):
        for name, cell in row.items():
            if name not in ("iteration", "epoch", "seconds"):
                points[name][int(row["iteration"])] = _number(path, cell)
    return points


def _number(path: Path, cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        raise DataError(f'{path}: "{cell}" is no number') from None


# --- lines ------------------------------------------------------------------------------------------------------------

_NUMBER = r"([-+]?(?:\d[\d.]*(?:[eE][-+]?\d+)?|nan|inf))"
_ITERATION = re.compile(r"Iteration (\d+)")
_LOSS = re.compile(rf"Iteration \d+.*, loss = {_NUMBER}")
_RATE = re.compile(rf"Iteration \d+, lr = {_NUMBER}")
_TEST_NET = re.compile(r"Testing net \(#(\d+)\)")
_OUTPUT = re.compile(rf"(Train|Test) net output #\d+: (.+?) = {_NUMBER}")


def _of_lines(lines: Iterable[str]) -> dict[str, Points]:
    """The figures in log lines; where a run was resumed, what it logged last."""
    points: dict[str, Points] = defaultdict(dict)
    outputs: dict[str, list[float]] = defaultdict(list)
    iteration, kind, test = 0, "", 0

    def take_outputs() -> None:
        for name, value in columns(kind, outputs).items():
            points[name][iteration] = value
        outputs.clear()

    for line in lines:
        if output := _OUTPUT.search(line):
            kind = "train" if output[1] == "Train" else "test" if test == 0 else f"test {test}"
            outputs[output[2]].append(float(output[3]))
        if found := _ITERATION.search(line):
            take_outputs()
            iteration = int(found[1])
        if found := _TEST_NET.search(line):
            test = int(found[1])
        for name, pattern in (("loss", _LOSS), ("lr", _RATE)):
            if found := pattern.search(line):
                points[name][iteration] = float(found[1])
    take_outputs()
    return points


# --- the rate ahead ---------------------------------------------------------------------------------------------------

_SHOWN = 5000


def rates_ahead(document: Document[SolverParameter]) -> Points:
    """The rate over a run that has not begun, at some thousand iterations; that of a plateau as if it never dropped.
    SpecError where the solver is wrong."""
    check_solver(document)
    solver = document.message
    iterations = range(0, solver.max_iter, max(1, solver.max_iter // _SHOWN))
    return {iteration: learning_rate(solver, iteration) for iteration in iterations}
