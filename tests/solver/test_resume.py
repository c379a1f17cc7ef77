"""A resumed run is the uninterrupted one, to the bit."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from netspec import Solver
from netspec.errors import SnapshotError
from netspec.schema.netspec_pb2 import FreezeParameter, SolverState
from netspec.solver.rates import learning_rate
from netspec.solver.state_file import read_state

Build = Callable[..., Solver]
HALF = 10
"""Iterations before and after the point where a run is interrupted."""

TYPES: dict[str, dict[str, Any]] = {
    "Nesterov": {},
    "AdaGrad": {"momentum": None},
    "RMSProp": {"momentum": None, "rms_decay": 0.98},
    "AdaDelta": {"momentum": 0.95, "delta": 1e-6},
    "Adam": {"momentum2": 0.999},
    "AdamW": {"momentum2": 0.999},
    "RAdam": {"momentum2": 0.999},
    "LARS": {},
}
"""What each solver type needs."""

PLATEAU = {
    "test_interval": 2,
    "test_iter": [1],
    "watch": "accuracy",
    "watch_threshold": 1.0,  # no test is ever better
    "lr_policy": "plateau",
    "plateau_patience": 1,
}

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
    "plateau": PLATEAU,
    "HDF5": {"snapshot_format": "HDF5", "iter_size": 2},
    "safetensors": {"snapshot_format": "SAFETENSORS"},
    "ema": {"ema_decay": 0.9, "test_ema": True},
    "ema in HDF5": {"ema_decay": 0.9, "snapshot_format": "HDF5"},
    "BF16": {"precision": "BF16", "test_interval": 5, "test_iter": [1]},
    "FP16": {"precision": "FP16", "snapshot_format": "HDF5"},
    "thawed before": {"freeze": [FreezeParameter(layer=["conv1"], until=4)]},
    "thawed after": {"freeze": [FreezeParameter(layer=["conv1", "bn1"], until=14)], "type": "Adam", "momentum2": 0.999},
    **{name: {"type": name, "stepvalue": [HALF + 2], "iter_size": 2, **fields} for name, fields in TYPES.items()},
}


def everything(solver: Solver) -> dict[str, Any]:
    """What a run has come to, and what it would draw next."""
    found: dict[str, Any] = {"iter": solver.iter, "shown losses": solver._display.shown_losses, "test": solver.test()}
    for name, blobs in solver.net.layer_params.items():
        found |= {f"{name}/{index}": blob.detach().clone() for index, blob in enumerate(blobs)}
    found |= {f"history/{index}": blob.clone() for index, blob in enumerate(solver.update.history)}
    if solver.average:
        found |= {f"average/{index}": blob.clone() for index, blob in enumerate(solver.average.values)}
    found["watch"] = str(solver._watch._state)
    found["rate"] = learning_rate(solver.param, solver.iter, solver._watch.drops)
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


ALWAYS = (1,) * HALF


@pytest.mark.parametrize(
    ("fields", "parts"),
    [
        *(pytest.param(fields, (HALF // 2, HALF // 2), id=f"{name}, twice") for name, fields in RUNS.items()),
        *(pytest.param(RUNS[name], (HALF,), id=f"{name}, once") for name in ("mid-epoch", "whole tests", "ema")),
        *(pytest.param(RUNS[name], ALWAYS, id=f"{name}, always") for name in ("mid-epoch", "plateau", "thawed after")),
    ],
)
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


def test_resume_from_the_best_snapshot(solver_of: Build, tmp_path: Path) -> None:
    """It was written in the middle of its iteration, after the test; the run that resumes tests again, on the same
    records, and comes to the same."""
    fields = {"snapshot": 0, "test_interval": 4, "test_iter": [1], "watch": "accuracy", "snapshot_best": True}
    straight = solver_of(**fields)
    straight.step(HALF)
    shutil.copytree(tmp_path, tmp_path / "kept")  # the next best replaces it
    (best,) = tmp_path.glob("kept/run_best_iter_*.solverstate")
    straight.step(HALF)
    expected = everything(straight)
    solver = solver_of(**fields)
    solver.restore(best)
    assert 0 < solver.iter < HALF
    solver.step(2 * HALF - solver.iter)
    assert_identical(everything(solver), expected)


def test_runs_are_what_they_are_called(solver_of: Build) -> None:
    """On a plateau the rate has dropped before the snapshot and drops after it; a frozen layer thaws on its side."""
    solver = solver_of(**RUNS["plateau"])
    rates = []
    for _ in range(2):
        solver.step(HALF)
        rates.append(learning_rate(solver.param, solver.iter, solver._watch.drops))
    assert solver.param.base_lr > rates[0] > rates[1]
    for name, learns in (("thawed before", True), ("thawed after", False)):
        solver = solver_of(**RUNS[name])
        solver.step(HALF)
        assert solver.net.layer_params["conv1"][0].requires_grad == learns


@pytest.mark.parametrize("snapshot_format", ["BINARYPROTO", "HDF5", "SAFETENSORS"])
def test_resume_after_a_live_edit(
    solver_of: Build, edit: Callable[..., None], tmp_path: Path, snapshot_format: str
) -> None:
    """A run whose rate was moved by hand is the same when it was resumed after that, with the file as it was first or
    as it was edited."""
    fields = {"snapshot": 0, "test_interval": 0, "snapshot_format": snapshot_format}
    straight = solver_of(**fields)
    path = tmp_path / "run.solver"
    straight.step(4)
    edit(path, base_lr=0.01)
    straight.step(HALF - 4)
    straight.snapshot()
    straight.step(HALF)
    expected = everything(straight)
    for rate in (0.05, 0.01):
        solver = resumed(solver_of, **fields, base_lr=rate)
        solver.step(HALF)
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


def test_another_environment_is_named(
    solver_of: Build, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where bits may differ from those of the run before, one line says all that differs."""
    solver = solver_of()
    solver.step(1)
    solver.snapshot()
    resumed(solver_of)
    assert "bits may differ" not in caplog.text
    torch.set_num_threads(2)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    resumed(solver_of)
    (line,) = [record.message for record in caplog.records if "bits may differ" in record.message]
    assert line == (
        "bits may differ: the snapshot was made with threads 1, deterministic False; "
        "here it is threads 2, deterministic True, ONEDNN_MAX_CPU_ISA AVX2"
    )
    other = resumed(solver_of)
    other.snapshot()
    caplog.clear()
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA")
    resumed(solver_of)
    assert "made with ONEDNN_MAX_CPU_ISA AVX2; here it is without" in caplog.text


def test_an_environment_that_torch_does_not_tell(solver_of: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting that PyTorch refuses to tell does not cost the snapshot."""

    def refuse() -> str:
        raise RuntimeError("the legacy and the new way are mixed")

    monkeypatch.setattr(torch, "get_float32_matmul_precision", refuse)
    assert "float32_matmul_precision mixed" in read_state(solver_of().snapshot()).run.environment


def test_a_field_that_differs_is_named(solver_of: Build, caplog: pytest.LogCaptureFixture) -> None:
    """A solver file that was edited between the runs is in force, and the fields that differ are named."""
    solver = solver_of()
    solver.step(1)
    solver.snapshot()
    other = resumed(solver_of, momentum=0.5)
    assert other.param.momentum == 0.5
    assert "momentum is 0.5; in the snapshot it was 0.9" in caplog.text


def test_a_field_that_differs_reads_as_in_a_text(
    solver_of: Build, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A choice is shown by its name, and weights, which a run that resumes does not load, not at all."""
    start = tmp_path / "start.caffemodel"
    solver_of().net.save(start)
    solver_of(weights=[str(start)]).snapshot()
    resumed(solver_of, snapshot_format="SAFETENSORS")
    assert "snapshot_format is SAFETENSORS; in the snapshot it was BINARYPROTO" in caplog.text
    assert "weights is" not in caplog.text


@pytest.mark.parametrize(
    ("before", "now", "fits"),
    [("SGD", "Nesterov", True), ("AdamW", "RAdam", True), ("AdaGrad", "SGD", False), ("AdaDelta", "Adam", False)],
)
def test_another_solver_type(solver_of: Build, before: str, now: str, fits: bool) -> None:
    """A type goes on from another's snapshot only where both keep the same history."""
    momentum = 0.0 if before == "AdaGrad" else 0.9
    path = solver_of(type=before, momentum=momentum).snapshot()
    other = solver_of(type=now)
    if fits:
        other.restore(path)
        return
    with pytest.raises(SnapshotError, match=f'a snapshot of solver type "{before}", whose history is of no use'):
        other.restore(path)


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
