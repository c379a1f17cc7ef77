"""What is said of a run before it starts is what the run then does."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from netspec import Solver
from netspec.solver.preview import preview

Build = Callable[..., Solver]


def said(solver: Solver, subject: str) -> list[str]:
    """The lines of a subject, without its name."""
    return [line[12:] for line in preview(solver) if line.startswith(subject)]


def test_the_subjects(solver_of: Build) -> None:
    """One line each: nets with their inputs, data, parameters, memory, rate, tests, snapshots, and the iteration."""
    solver = solver_of(test_iter=[2, 3])
    subjects = [line[:12].rstrip() for line in preview(solver)]
    assert subjects == [
        "solver", "train net", "data", "test net 0", "data", "test net 1", "data",
        "parameters", "memory", "rate", "tests", "tests", "snapshots", "iteration",
    ]  # fmt: skip
    assert said(solver, "train net") == ["digits: data 32x1x6x6, label 32"]
    assert said(solver, "tests") == [
        "net 0, 2 batches, every 10 iterations: accuracy, loss",
        "net 1, 3 batches, every 10 iterations: accuracy, loss",
    ]


def test_the_data(solver_of: Build) -> None:
    """Records, batches, and for the train net how many iterations make an epoch, iter_size counted."""
    train, test = said(solver_of(iter_size=2, max_iter=60), "data")
    assert train == "data: 1,500 records, 46.875 batches of 32; an epoch is 23.4375 iterations, max_iter 2.56 epochs"
    assert test == "data: 297 records, 7.425 batches of 40"


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({}, "0.05 at iteration 0, 0.0005 at 59 (multistep)"),
        ({"lr_policy": "fixed", "warmup_iter": 5}, "0 at iteration 0, 0.05 at 59 (fixed)"),
        (
            {"lr_policy": "plateau", "watch": "accuracy"},
            "0.05 at iteration 0, then as the tests say (plateau of accuracy)",
        ),
    ],
)
def test_the_rate(solver_of: Build, fields: dict[str, Any], line: str) -> None:
    """The rate of the first and of the last iteration."""
    assert said(solver_of(**fields), "rate") == [line]


def test_frozen_layers_are_counted(solver_of: Build) -> None:
    """What does not learn in the next iteration is not among what is learned."""
    (line,) = said(solver_of(["freeze={layer: 'conv1' until: 100}"]), "parameters")
    whole, learned = 8 * 9 + 8 + (8 + 8 + 1) + 8 + 8 + 128 * 10 + 10, 8 + 8 + 128 * 10 + 10
    assert line == f"{learned:,} learned, {whole - learned:,} frozen or statistics at iteration 0"


def test_memory(solver_of: Build) -> None:
    """Adam's history is twice the weights, and an average once more; the larger net's blobs count."""
    assert "weights 5.6" in said(solver_of(type="SGD"), "memory")[0]
    (line,) = said(solver_of(type="Adam", ema_decay=0.9), "memory")
    assert "weights 11.2 kB, gradients 5.54 kB, history 11.2 kB, blobs " in line


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        ({"max_iter": 60, "snapshot": 7}, 9),
        ({"max_iter": 56, "snapshot": 7}, 8),
        ({"max_iter": 60, "snapshot": 7, "snapshot_after_train": False}, 8),
        ({"max_iter": 60, "snapshot": 0}, 1),
        ({"max_iter": 60, "snapshot": 7, "snapshot_keep": 2}, 3),
        ({"max_iter": 60, "snapshot": 7, "snapshot_keep": 20, "snapshot_best": True, "watch": "accuracy"}, 11),
    ],
)
def test_the_snapshots(solver_of: Build, tmp_path: Path, fields: dict[str, Any], count: int) -> None:
    """Where they go, and how many are there at a time."""
    solver = solver_of(test_interval=100, **{**fields, "max_iter": 60 if "watch" in fields else fields["max_iter"]})
    (line,) = said(solver, "snapshots")
    assert (
        line.startswith(str(tmp_path / f"run_iter_{solver.param.max_iter}.solverstate")) and f"up to {count} of" in line
    )


@pytest.mark.parametrize(("free", "warns"), [(9 * 2 * 4 * 1403, False), (9 * 2 * 4 * 1403 - 1, True)])
def test_too_little_room(
    solver_of: Build, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, free: int, warns: bool
) -> None:
    """A disk on which not all snapshots have room is warned of, with the sizes."""
    usage = type(shutil.disk_usage("/"))(0, 0, free)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    list(preview(solver_of(max_iter=60, snapshot=7)))
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert bool(warnings) == warns and all("for 9 snapshots" in warning for warning in warnings)


def test_no_trace_is_left(solver_of: Build, tmp_path: Path) -> None:
    """No weight, no history and no file is changed, and no folder made."""
    solver = solver_of(snapshot_prefix=str(tmp_path / "new" / "run"))
    before = [weight.detach().clone() for weight in solver.update.weights]
    assert len(list(preview(solver))) > 5
    assert all(map(bool, (old.equal(new) for old, new in zip(before, solver.update.weights, strict=True))))
    assert not any(history.any() for history in solver.update.history) and solver.iter == 0
    assert {path.name for path in tmp_path.iterdir()} - {"cache"} == {"run.solver"}


def test_a_resumed_run(solver_of: Build) -> None:
    """The lines are about what is left to do."""
    solver = solver_of(snapshot=7, max_iter=60)
    solver.step(30)
    assert said(solver, "solver")[0].endswith("SGD, iterations 30 to 60")
    assert "0.005 at iteration 30" in said(solver, "rate")[0]
    assert "up to 5 of" in said(solver, "snapshots")[0]
