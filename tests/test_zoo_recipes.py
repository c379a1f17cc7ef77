"""The recipes of the zoo."""

from __future__ import annotations

from pathlib import Path

import pytest

from netspec import read_net, read_solver

ROOT = Path(__file__).parents[1]
SOLVERS = {file.stem: read_solver(file) for file in sorted((ROOT / "solvers").glob("*.solver"))}


@pytest.mark.parametrize("name", SOLVERS)
def test_statistics_are_gathered_before_tests(name: str) -> None:
    """The recipe of a net with BatchNorm leaves out the test at the start, the others do not."""
    solver = SOLVERS[name]
    normalised = any(layer.type == "BatchNorm" for layer in read_net(ROOT / solver.net).layer)
    assert solver.test_initialization != normalised
