"""The files of a snapshot in every format: round trips to the bit, and Caffe's own, both ways."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from written import blobs, same

from netspec import SnapshotError, Solver
from netspec.schema.netspec_pb2 import SolverState
from netspec.solver.state_file import read_state, write_state
from netspec.weights import read_weights

Build = Callable[..., Solver]
RECORDED = Path(__file__).parents[1] / "golden" / "training"
FORMATS = {
    "BINARYPROTO": (".caffemodel", ".solverstate"),
    "HDF5": (".caffemodel.h5", ".solverstate.h5"),
    "SAFETENSORS": (".safetensors", ".solverstate"),
}
"""How the files of each format end."""


@pytest.mark.parametrize("other_format", FORMATS)
@pytest.mark.parametrize("snapshot_format", FORMATS)
def test_round_trip(solver_of: Build, tmp_path: Path, snapshot_format: str, other_format: str) -> None:
    """Weights, statistics, averaged weights and history come back to the bit, whatever format the run writes next."""
    solver = solver_of(snapshot_format=snapshot_format, ema_decay=0.5, type="Adam", momentum2=0.999)
    solver.step(3)
    state = solver.snapshot()
    weights, ending = FORMATS[snapshot_format]
    written = {path.name for path in tmp_path.glob("run_iter_3*")}
    assert written == {f"run_iter_3{weights}", f"run_iter_3_ema{weights}", f"run_iter_3{ending}"}
    other = solver_of(
        snapshot_format=other_format, ema_decay=0.5, type="Adam", momentum2=0.999, random_seed=99, name="other"
    )
    other.restore(state)
    assert (other.iter, other.seed) == (3, solver.seed)
    assert same(blobs(other), blobs(solver))
    again = solver_of(ema_decay=0.5, type="Adam", momentum2=0.999, random_seed=98, name="again")
    again.restore(other.snapshot())
    assert same(blobs(again), blobs(solver))


@pytest.mark.parametrize("snapshot_format", FORMATS)
def test_any_file_of_a_snapshot_will_do(solver_of: Build, snapshot_format: str) -> None:
    """Given the weights, averaged or not, their state is taken."""
    solver = solver_of(snapshot_format=snapshot_format, ema_decay=0.5)
    solver.step(1)
    stem = str(solver.snapshot()).removesuffix(FORMATS[snapshot_format][1])
    for mark in ("", "_ema"):
        other = solver_of(random_seed=99, ema_decay=0.5)
        other.restore(f"{stem}{mark}{FORMATS[snapshot_format][0]}")
        assert same(blobs(other), blobs(solver))


def test_average_begins_with_the_weights_where_a_snapshot_has_none(
    solver_of: Build, caplog: pytest.LogCaptureFixture
) -> None:
    """A run that averages goes on from one that did not, and says so; the other way round nothing is missing."""
    solver = solver_of()
    solver.step(2)
    other = solver_of(ema_decay=0.5, random_seed=99)
    other.restore(solver.snapshot())
    assert other.average and same(other.average.values, [param.tensor.detach() for param in other.net.params])
    assert "has no averaged weights: the average begins anew" in caplog.text
    other.step(1)
    solver.restore(other.snapshot())
    assert solver.iter == 3 and same(solver.update.history, other.update.history)


# --- Caffe's HDF5 -----------------------------------------------------------------------------------------------


def layout(path: Path) -> dict[str, tuple[object, ...]]:
    """Every dataset of an HDF5 file by name: class, size and form of its numbers or letters, and shape."""
    found: dict[str, tuple[object, ...]] = {}

    def visit(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            kind = item.id.get_type()
            text = (kind.get_strpad(), kind.get_cset()) if kind.get_class() == h5py.h5t.STRING else ()
            size = kind.get_size() if not text else "any"
            found[name] = (kind.get_class(), item.dtype.kind, size, item.shape, *text)

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    return found


@pytest.fixture
def recorded(tmp_path: Path) -> Solver:
    """The recorded solver file; its snapshots go elsewhere, in HDF5."""
    return Solver(RECORDED / "solver.prototxt", snapshot_prefix=str(tmp_path / "run"), snapshot_format="HDF5")


def test_our_hdf5_files_are_laid_out_as_caffes(recorded: Solver) -> None:
    """The same datasets of the same types and shapes as Caffe wrote for this net; the state has one more, /run, and
    the name of the weights ends with a zero byte, where Caffe stops reading it."""
    recorded.step(1)
    state = recorded.snapshot()
    ours, theirs = layout(state), layout(RECORDED / "run_iter_100.solverstate.h5")
    assert ours.pop("run")[1] == "u"
    assert ours == theirs
    weights = state.with_name("run_iter_1.caffemodel.h5")
    assert layout(weights) == layout(RECORDED / "run_iter_100.caffemodel.h5")
    with h5py.File(state, "r") as file:
        kind = file["learned_net"].id.get_type()
        assert kind.get_size() == len(str(weights)) + 1
        assert file["learned_net"][()] == str(weights).encode()
        assert (file["iter"][0], file["current_step"][0]) == (1, 0)
        for index, history in enumerate(recorded.update.history):
            np.testing.assert_array_equal(file[f"history/{index}"][()], history.numpy())


def test_checksum_of_an_hdf5_state_is_in_its_user_block(recorded: Solver) -> None:
    """The first 512 bytes, which HDF5 skips, hold the SHA-256 of all others."""
    content = recorded.snapshot().read_bytes()
    assert content[:512] == (b"netspec " + hashlib.sha256(content[512:]).digest()).ljust(512, b"\0")


@pytest.mark.parametrize("suffix", ["", ".h5"])
def test_caffes_snapshot_is_resumed(recorded: Solver, suffix: str) -> None:
    """Weights, history and iteration are those that Caffe wrote, and the run goes on."""
    binary = SolverState.FromString((RECORDED / "run_iter_100.solverstate").read_bytes())
    recorded.restore(RECORDED / f"run_iter_100.solverstate{suffix}")
    assert recorded.iter == binary.iter == 100
    weights = read_weights(RECORDED / "run_iter_100.caffemodel")
    for name, layer in recorded.net.layer_params.items():
        for ours, theirs in zip(layer, weights[name], strict=True):
            np.testing.assert_array_equal(ours.detach().numpy(), theirs)
    for own, stored in zip(recorded.update.history, binary.history, strict=True):
        assert tuple(own.shape) == tuple(stored.shape.dim)
        assert torch.equal(own.flatten(), torch.tensor(stored.data))
    recorded.step(3)
    assert recorded.iter == 103 and np.isfinite(recorded.loss)


def test_both_of_caffes_snapshots_go_on_alike(recorded: Solver) -> None:
    """From either format the next iterations are the same to the bit."""
    ends = []
    for suffix in ("", ".h5"):
        recorded.restore(RECORDED / f"run_iter_100.solverstate{suffix}")
        for _, source in recorded.net.sources:
            source.position = 0
        recorded.step(3)
        ends.append(blobs(recorded))
    assert same(*ends)


@pytest.mark.parametrize("suffix", ["", ".h5"])
def test_state_alone(tmp_path: Path, suffix: str) -> None:
    """What is written is read, whatever the shapes: an empty blob and a scalar among them."""
    path = tmp_path / f"x.solverstate{suffix}"
    history = [torch.randn(shape) for shape in ((2, 3), (), (5,), (0, 4), *[(1,)] * 12)]
    state = SolverState(iter=2**31 - 1, learned_net="a/ü.caffemodel", current_step=7)
    state.run.seed = 2**40
    write_state(path, state, history)
    found = read_state(path)
    assert (found.iter, found.learned_net, found.current_step) == (state.iter, state.learned_net, 7)
    assert found.run == state.run
    assert [tuple(blob.shape.dim) for blob in found.history] == [tuple(blob.shape) for blob in history]
    assert all(
        torch.equal(torch.tensor(blob.data), own.flatten()) for blob, own in zip(found.history, history, strict=True)
    )


def huge(file: h5py.File) -> None:
    del file["history/0"]
    file.create_dataset("history/0", (1 << 40,), "f4", chunks=(1 << 10,))


def elsewhere(file: h5py.File) -> None:
    del file["history/0"]
    file.create_dataset("history/0", (4,), "f4", external=[("/dev/zero", 0, 16)])


def nameless(file: h5py.File) -> None:
    del file["learned_net"]


def gap(file: h5py.File) -> None:
    del file["history/1"]


def no_group(file: h5py.File) -> None:
    del file["history"]
    file["history"] = 1


@pytest.mark.parametrize("change", [huge, elsewhere, nameless, gap, no_group])
def test_hdf5_files_that_are_no_state(tmp_path: Path, change: Callable[[h5py.File], None]) -> None:
    """Without our checksum, as from Caffe, another layout is refused; nothing is read from elsewhere."""
    path = tmp_path / "x.solverstate.h5"
    path.write_bytes((RECORDED / "run_iter_100.solverstate.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(SnapshotError, match=r"x\.solverstate\.h5: this is no solverstate, or it is damaged"):
        read_state(path)
