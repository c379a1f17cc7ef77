"""What `snapshot_diff` adds to the weights file."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from netspec import Solver
from netspec.schema.netspec_pb2 import NetParameter, SolverParameter

Diffs = dict[str, list[np.ndarray]]


def diffs_in(path: Path) -> Diffs:
    """The diffs of a weights file by layer, those of layers without blobs left out."""
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            return {
                name: [blobs[str(i)][()] for i in range(len(blobs))]
                for name, blobs in file["diff"].items()
                if len(blobs)
            }
    layers = NetParameter.FromString(path.read_bytes()).layer
    return {
        layer.name: [np.float32(blob.diff).reshape(blob.shape.dim) for blob in layer.blobs]
        for layer in layers
        if layer.blobs
    }


def blobs_of(solver: Solver) -> Diffs:
    return {name: [b.detach().numpy().copy() for b in blobs] for name, blobs in solver.net.layer_params.items()}


@pytest.mark.parametrize("solver_type", ["SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam", "RAdam"])
@pytest.mark.parametrize(("kind", "suffix"), [("BINARYPROTO", ".caffemodel"), ("HDF5", ".caffemodel.h5")])
def test_the_diff_is_what_was_subtracted(
    solver_of: Callable[..., Solver], solver_type: str, kind: str, suffix: str
) -> None:
    """Every blob has one: what the last update took from it, 0 for statistics."""
    momentum = 0 if solver_type in ("AdaGrad", "RMSProp") else 0.9
    fields = {"type": solver_type, "momentum": momentum, "delta": 1e-3, "clip_gradients": 1.0, "base_lr": 1e-3}
    kind_number = SolverParameter.SnapshotFormat.Value(kind)
    solver = solver_of(**fields, weight_decay=0.01, snapshot=0, snapshot_diff=True, snapshot_format=kind_number)
    solver.step(3)
    before = blobs_of(solver)
    solver.step(1)
    solver.snapshot()
    found, after = diffs_in(Path(f"{solver.prefix}_iter_4{suffix}")), blobs_of(solver)
    assert {name: len(blobs) for name, blobs in found.items()} == {name: len(blobs) for name, blobs in after.items()}
    for name, diffs in found.items():
        for diff, old, new in zip(diffs, before[name], after[name], strict=True):
            if name == "bn1":
                assert not diff.any()
            else:
                np.testing.assert_allclose(diff, old - new, rtol=0, atol=3e-7)
                assert diff.any()


def test_before_the_first_update_there_is_nothing(solver_of: Callable[..., Solver]) -> None:
    """A snapshot of iteration 0, or of a run just resumed, has diffs of 0."""
    solver = solver_of(snapshot_diff=True)
    path = solver.snapshot().with_suffix(".caffemodel")
    assert not any(diff.any() for diffs in diffs_in(path).values() for diff in diffs)


def test_without_the_field_there_are_none(solver_of: Callable[..., Solver]) -> None:
    """Without snapshot_diff the blobs have values alone, after an update too."""
    solver = solver_of()
    solver.step(1)
    path = solver.snapshot().with_suffix(".caffemodel")
    layers = NetParameter.FromString(path.read_bytes()).layer
    assert not any(blob.diff for layer in layers for blob in layer.blobs)


def test_diffs_change_no_run(solver_of: Callable[..., Solver]) -> None:
    """With diffs and without, the weights are the same but for the last digit."""
    runs = []
    for diff in (False, True):
        solver = solver_of(snapshot_diff=diff, weight_decay=0.01, regularization_type="L1")
        solver.step(5)
        runs.append(solver.net.layer_params["ip"][0].detach().numpy())
    np.testing.assert_allclose(*runs, rtol=0, atol=1e-5)
