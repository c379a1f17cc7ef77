"""Runs in BF16 and FP16."""

import logging
import math
import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from netspec import Solver
from netspec.evaluate import evaluate
from netspec.schema.netspec_pb2 import Precision
from netspec.solver.loss_scale import FIRST
from netspec.solver.state_file import read_state
from netspec.weights import read_weights

Build = Callable[..., Solver]

QUICKSTART = Path(__file__).parents[2] / "solvers/quickstart.solver"
ITERATIONS = 300
SEEDS = range(1, 6)


def accuracy(precision: str, seed: int, folder: Path) -> float:
    """That of a shortened quickstart run, on all test images."""
    solver = Solver(
        QUICKSTART,
        max_iter=ITERATIONS,
        stepvalue=ITERATIONS * 3 // 4,
        display=0,
        snapshot=0,
        test_initialization="false",
        snapshot_prefix=f'"{folder}/"',
        precision=precision,
        random_seed=seed,
    )
    solver.step(ITERATIONS)
    (test_net,) = solver.test_nets
    (mean,) = evaluate(test_net)["accuracy"]
    solver.close()
    return mean


def test_bf16_learns_the_digits(tmp_path: Path) -> None:
    """Over five seeds BF16 is as accurate as FP32 but for the noise of the seeds."""
    full, half = ([accuracy(precision, seed, tmp_path) for seed in SEEDS] for precision in ("FP32", "BF16"))
    noise = statistics.stdev(full) / len(SEEDS) ** 0.5
    assert min(full) > 0.95
    assert statistics.mean(half) > statistics.mean(full) - max(3 * noise, 0.01)


@pytest.mark.parametrize("precision", ["BF16", "FP16"])
def test_a_run_learns_as_in_fp32(solver_of: Build, precision: str) -> None:
    """The loss of a short run falls, to that of FP32 within the roundings."""
    losses, chance = [], math.log(10)
    for kind in ("FP32", precision):
        solver = solver_of(precision=kind, test_interval=0, average_loss=10, snapshot=0)
        solver.step(60)
        losses.append(solver.loss)
        assert solver.net.precision == Precision.Kind.Value(kind)
    assert losses[1] == pytest.approx(losses[0], abs=0.02)
    assert max(losses) < chance - 0.2


@pytest.mark.parametrize("precision", ["BF16", "FP16"])
@pytest.mark.parametrize("form", ["BINARYPROTO", "HDF5", "SAFETENSORS"])
def test_snapshots_hold_fp32(solver_of: Build, precision: str, form: str) -> None:
    """Weights and history in a snapshot are the float32 that the run has, more than 16 bits would hold; FP32 goes on
    from it."""
    solver = solver_of(precision=precision, snapshot_format=form)
    solver.step(3)
    state = read_state(solver.snapshot())
    stored = {name: list(blobs) for name, blobs in read_weights(state.learned_net).items()}
    for name, blobs in solver.net.layer_params.items():
        for blob, other in zip(blobs, stored[name], strict=True):
            assert np.asarray(other).dtype == np.float32
            assert torch.equal(blob.detach().cpu(), torch.from_numpy(np.asarray(other).copy()))
    weight = solver.net.layer_params["ip"][0].detach()
    assert not torch.equal(weight, weight.bfloat16().float())
    assert {blob.dtype for blob in solver.update.history} == {torch.float32}
    other = solver_of(precision="FP32", snapshot_format=form)
    other.restore(solver.last_snapshot)
    assert torch.equal(other.net.layer_params["ip"][0], solver.net.layer_params["ip"][0])


def test_the_loss_scale_is_in_the_snapshot(solver_of: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that resumes goes on with the scale it had come to."""
    solver = solver_of(precision="FP16", snapshot=0)
    solver.step(5)
    stored = read_state(solver.snapshot()).run.loss_scale
    assert stored.good <= 5
    assert stored.scale <= FIRST
    after = solver_of(precision="FP16", snapshot=0)
    after.resume()
    assert read_state(after.snapshot()).run.loss_scale == stored
    bf16 = solver_of(precision="BF16", snapshot=0)
    bf16.step(1)
    assert not read_state(bf16.snapshot()).run.HasField("loss_scale")


def test_an_overflow_skips_the_update(solver_of: Build, caplog: pytest.LogCaptureFixture) -> None:
    """While scaled gradients overflow, weights and history stay, iterations pass, and the run goes on."""
    solver = solver_of(["loss.loss_weight=1e6"], precision="FP16", snapshot=0, test_interval=0)
    before = [param.tensor.detach().clone() for param in solver.net.params if param.tensor.requires_grad]
    with caplog.at_level(logging.INFO, "netspec"):
        solver.step(1)
    after = [param.tensor for param in solver.net.params if param.tensor.requires_grad]
    assert solver.iter == 1
    assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))
    assert not any(blob.any() for blob in solver.update.history)
    assert sum("gradients overflow FP16" in line for line in caplog.messages) == 1
    assert np.isfinite(solver.loss)
