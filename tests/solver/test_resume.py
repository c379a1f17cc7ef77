"""A resumed run is the uninterrupted one, to the bit."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from netspec import Solver
from netspec.schema.netspec_pb2 import SolverState

Build = Callable[..., Solver]
HALF = 10
"""Iterations before and after the point where a run is interrupted."""

RUNS: dict[str, dict[str, Any]] = {
    "mid-epoch": {"test_interval": 0},
    "into the next epoch": {"test_interval": 0, "settings": ["data@TRAIN.data_param.batch_size=140"]},
    "at a rate drop": {"stepvalue": [HALF]},
    "after a test": {"test_interval": 5, "test_iter": [2]},
    "before a test": {"test_interval": HALF + 1, "test_iter": [2]},
    "whole tests": {"test_interval": 5, "test_iter": []},
    "iter_size 2": {"iter_size": 2},
    "clipped, L1": {"clip_gradients": 0.5, "regularization_type": "L1"},
    "poly": {"lr_policy": "poly", "power": 1.0},
    "seed unset": {"random_seed": -1},
}


def everything(solver: Solver) -> dict[str, Any]:
    """What a run has come to, and what it would draw next."""
    found: dict[str, Any] = {"iter": solver.iter, "shown losses": solver._display.shown_losses, "test": solver.test()}
    for name, blobs in solver.net.layer_params.items():
        found |= {f"{name}/{index}": blob.detach().clone() for index, blob in enumerate(blobs)}
    found |= {f"history/{index}": blob.clone() for index, blob in enumerate(solver.update.history)}
    found |= {f"next {top}": blob for top, blob in zip(("data", "label"), solver.net.sources[0][1].next(), strict=True)}
    found["next mask"] = torch.nn.functional.dropout(torch.ones(1000), 0.3)
    return found


def assert_identical(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """Equal keys and values, tensors to the bit."""
    assert ours.keys() == theirs.keys()
    different = [
        key
        for key, value in theirs.items()
        if not (torch.equal(ours[key], value) if isinstance(value, torch.Tensor) else ours[key] == value)
    ]
    assert different == []


def resumed(solver_of: Build, **fields: Any) -> Solver:
    """A new solver that went on from the newest snapshot."""
    torch.manual_seed(0)  # so that nothing is right by chance
    solver = solver_of(**fields)
    solver.resume()
    return solver


@pytest.mark.parametrize("fields", RUNS.values(), ids=RUNS)
@pytest.mark.parametrize("parts", [(HALF,), (HALF // 2, HALF // 2), (1,) * HALF], ids=["once", "twice", "always"])
def test_resume_is_uninterrupted(solver_of: Build, fields: dict[str, Any], parts: tuple[int, ...]) -> None:
    """Weights, history, losses, tests, the next batch and the next mask are the same, however often it was resumed."""
    straight = solver_of(snapshot=0, **fields)
    straight.step(HALF)
    straight.snapshot()
    straight.step(HALF)
    expected = everything(straight)
    for part in parts:
        solver = resumed(solver_of, snapshot=0, **fields)
        solver.step(part)
        solver.snapshot()
    assert_identical(everything(solver), expected)


def test_a_snapshot_does_not_disturb_the_run(solver_of: Build) -> None:
    """A run that writes snapshots is the run that writes none."""
    runs = []
    for interval in (0, 3):
        solver = solver_of(snapshot=interval)
        solver.step(2 * HALF)
        runs.append(everything(solver))
    assert_identical(*runs)


def test_what_the_snapshot_changes_of_the_seed(solver_of: Build) -> None:
    """The seed of the snapshot is in force, whatever the resuming run drew or was given."""
    solver = solver_of(random_seed=-1)
    solver.step(1)
    solver.snapshot()
    assert resumed(solver_of, random_seed=-1).seed == solver.seed
    assert resumed(solver_of, random_seed=3).seed == solver.seed


def test_without_our_part_weights_history_and_iteration_are_restored(solver_of: Build) -> None:
    """A state as Caffe writes it, which has no more, is taken."""
    solver = solver_of()
    solver.step(3)
    path = solver.snapshot()
    state = SolverState.FromString(path.read_bytes())
    state.ClearField("run")
    state.ClearField("checksum")
    path.write_bytes(state.SerializeToString())
    other = resumed(solver_of, random_seed=99)
    assert (other.iter, other.seed) == (3, 99)
    assert torch.equal(other.net.layer_params["ip"][0], solver.net.layer_params["ip"][0])
    assert all(torch.equal(a, b) for a, b in zip(other.update.history, solver.update.history, strict=True))


def test_another_environment_is_named(solver_of: Build, caplog: pytest.LogCaptureFixture) -> None:
    """Where bits may differ from those of the run before, one line says what differs."""
    solver = solver_of()
    solver.step(1)
    solver.snapshot()
    resumed(solver_of)
    assert "bits may differ" not in caplog.text
    torch.set_num_threads(2)
    resumed(solver_of)
    (line,) = [record.message for record in caplog.records if "bits may differ" in record.message]
    assert "threads 1" in line and "threads 2" in line


def test_a_field_that_differs_is_named(solver_of: Build, caplog: pytest.LogCaptureFixture) -> None:
    """A solver file that was edited between the runs is in force, and the fields that differ are named."""
    solver = solver_of()
    solver.step(1)
    solver.snapshot()
    other = resumed(solver_of, momentum=0.5)
    assert other.param.momentum == 0.5
    assert "momentum is 0.5; in the snapshot it was 0.9" in caplog.text


def test_restore_in_the_middle_of_a_run(solver_of: Build) -> None:
    """A solver that has gone on goes back to its snapshot, with its data."""
    solver = solver_of()
    solver.step(4)
    path = solver.snapshot()
    solver.step(4)
    expected = everything(solver)
    solver.restore(path)
    solver.step(4)
    assert_identical(everything(solver), expected)
