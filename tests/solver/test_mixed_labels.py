"""Nets whose labels are mixed train, are tested on plain labels, and resume to the bit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_resume import HALF, assert_identical, everything, resumed

from netspec import Solver

NETS = Path(__file__).parents[1] / "augmentations"
Build = Callable[..., Solver]


@pytest.fixture(params=["mixup", "cutmix"])
def fields(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What makes of the digits' solver one of such a net."""
    return {"net": str(NETS / f"{request.param}.prototxt"), "snapshot": 0, "test_interval": HALF, "test_iter": []}


def test_it_learns(solver_of: Build, fields: dict[str, Any]) -> None:
    """The loss on shares falls, and most plain digits are known; what it is trained on is not what it is tested on."""
    solver = solver_of(lr_policy="fixed", gamma=None, stepvalue=[], average_loss=20, **fields)
    assert solver.net.blob_shapes["label"] == (32, 10)
    assert solver.test_nets[0].blob_shapes["label"] == (40,)
    solver.step(20)
    first = solver.loss
    solver.step(140)
    assert solver.loss < 0.8 * first
    assert solver.test()[0]["accuracy"][0] > 0.6


def test_it_resumes(solver_of: Build, fields: dict[str, Any]) -> None:
    """Weights, losses, tests and the next batch with its shares are those of a run that was not interrupted."""
    straight = solver_of(**fields)
    straight.step(HALF)
    straight.snapshot()
    straight.step(HALF)
    expected = everything(straight)
    solver = resumed(solver_of, **fields)
    solver.step(HALF)
    assert_identical(everything(solver), expected)
