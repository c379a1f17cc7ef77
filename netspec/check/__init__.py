"""Says what net, solver and weights files are, what of them would be refused and where, and what traps are in them.

Unlike a run it does not stop at the first mistake. It allocates no memory for blobs and runs no code of the user's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from netspec.check.build import Built
from netspec.check.findings import Finding, Report
from netspec.check.nets import Options, check_net
from netspec.check.solvers import check_solver_file
from netspec.check.weight_files import SUFFIXES, check_weights, compare
from netspec.upgrade import is_solver

__all__ = ["Finding", "Options", "Report", "check"]


def check(files: Iterable[str | Path], options: Options = Options()) -> list[Report]:  # noqa: B008  # it is frozen
    """A report on each file, and on the nets of each solver. Weights files are held against the nets beside them."""
    paths = [Path(file) for file in files]
    weights = [path for path in paths if path.suffix in SUFFIXES]
    options = replace(options, has_weights=options.has_weights or bool(weights))
    reports: list[Report] = []
    nets: dict[str, list[Built]] = {}
    for path in paths:
        if path in weights:
            continue
        if is_solver(path):
            reports += check_solver_file(path, options)
        else:
            report, nets[str(path)] = check_net(path, options)
            reports.append(report)
    for path in weights:
        report, blobs = check_weights(path)
        for name, built in nets.items() if blobs else ():
            for phase in built[:1]:
                compare(report, blobs, name, phase)
        reports.append(report)
    return reports
