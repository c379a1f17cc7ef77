"""Snapshots: what is in them, which are taken, which are deleted."""

import errno
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.unknown_fields import UnknownFieldSet
from written import blobs, names, pairs, same

from netspec import DataError, SnapshotError, Solver
from netspec.layers.sources import Pending
from netspec.schema import netspec_pb2
from netspec.schema.netspec_pb2 import SolverState
from netspec.solver import snapshot
from netspec.solver.state_file import read_state

Build = Callable[..., Solver]
STRANGERS = 10000
"""From this field number on, fields are ours and not Caffe's."""


def caffe_message(name: str) -> type:
    """A message class of the schema without the fields that Caffe does not have."""
    file = descriptor_pb2.FileDescriptorProto()
    netspec_pb2.DESCRIPTOR.CopyToProto(file)
    for message in file.message_type:
        own = [field for field in message.field if field.number < STRANGERS]
        del message.field[:]
        message.field.extend(own)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{file.package}.{name}"))


def test_caffe_reads_the_state(trained: tuple[Solver, Path]) -> None:
    """A schema with Caffe's fields alone finds iteration, weights file, history and stage; the rest is unknown."""
    solver, path = trained
    state = caffe_message("SolverState").FromString(path.read_bytes())
    assert (state.iter, state.learned_net, state.current_step) == (3, str(path.with_suffix(".caffemodel")), 0)
    for blob, history in zip(state.history, solver.update.history, strict=True):
        assert tuple(blob.shape.dim) == tuple(history.shape)
        assert torch.equal(torch.tensor(blob.data).reshape(history.shape), history)
    assert {field.field_number for field in UnknownFieldSet(state)} == {STRANGERS, STRANGERS + 1}


def test_caffe_reads_the_weights(trained: tuple[Solver, Path]) -> None:
    """A schema with Caffe's fields alone finds every layer of the net, in order, with its blobs."""
    solver, path = trained
    net = caffe_message("NetParameter").FromString(path.with_suffix(".caffemodel").read_bytes())
    assert [layer.name for layer in net.layer] == [node.name for node in solver.net.graph.nodes]
    stored = [torch.tensor(blob.data) for layer in net.layer for blob in layer.blobs]
    assert same(stored, [blob.flatten() for layer in solver.net.layer_params.values() for blob in layer])


def test_stage_is_that_of_the_last_iteration(solver_of: Build) -> None:
    """current_step counts the drops that were made, as in Caffe: a drop due next is not in it yet."""
    solver = solver_of(stepvalue=[2, 4, 4])
    stages = {}
    for _ in range(7):
        solver.step(1)
        stages[solver.iter] = read_state(solver.snapshot()).current_step
    assert stages == {1: 0, 2: 0, 3: 1, 4: 1, 5: 2, 6: 3, 7: 3}


def test_last_field_is_the_checksum_of_all_before(trained: tuple[Solver, Path]) -> None:
    """The file ends with the SHA-256 of all bytes before it, and names that of its weights file."""
    _, path = trained
    content = path.read_bytes()
    assert content[-32:] == hashlib.sha256(content[:-32]).digest()
    weights = path.with_suffix(".caffemodel").read_bytes()
    assert SolverState.FromString(content).run.weights_sha256 == hashlib.sha256(weights).digest()


# --- where the files are ----------------------------------------------------------------------------------------


def test_moved_folder(trained: tuple[Solver, Path], solver_of: Build, tmp_path: Path) -> None:
    """A pair that was moved is found together, wherever the state says its weights were."""
    solver, state = trained
    moved = tmp_path / "moved"
    moved.mkdir()
    for file in (state, state.with_suffix(".caffemodel")):
        file.rename(moved / file.name)
    other = solver_of(random_seed=99)
    other.restore(moved / state.name)
    assert same(blobs(other), blobs(solver))


def test_state_alone_finds_its_weights(trained: tuple[Solver, Path], solver_of: Build, tmp_path: Path) -> None:
    """A state that was copied alone takes the weights from where they were written."""
    solver, state = trained
    (tmp_path / "alone").mkdir()
    shutil.copy(state, tmp_path / "alone")
    other = solver_of(random_seed=99)
    other.restore(tmp_path / "alone" / state.name)
    assert same(blobs(other), blobs(solver))


@pytest.mark.parametrize(
    ("suffix", "reason"), [(".caffemodel", "its weights file .* is not beside it"), (".solverstate", "no such file")]
)
def test_missing_file_of_the_pair(trained: tuple[Solver, Path], suffix: str, reason: str) -> None:
    """Where one of the two is missing, that one is named."""
    solver, state = trained
    state.with_suffix(suffix).unlink()
    with pytest.raises(SnapshotError, match=reason):
        solver.restore(state)


def test_snapshots_beside_the_solver_file(solver_of: Build, tmp_path: Path) -> None:
    """Without a prefix, and where it is a folder, the name is that of the solver file."""
    assert solver_of(snapshot_prefix="").prefix == str(tmp_path / "run")
    (tmp_path / "kept").mkdir()
    assert solver_of(snapshot_prefix=str(tmp_path / "kept")).prefix == str(tmp_path / "kept" / "run")
    solver = solver_of(snapshot_prefix=f"{tmp_path}/new/", max_iter=2, snapshot=1)
    assert solver.solve() and solver.prefix == str(tmp_path / "new" / "run")
    assert names(tmp_path / "new") == pairs(1, 2)


@pytest.mark.parametrize(
    ("fields", "refused"),
    [
        ({}, ".caffemodel"),
        ({"snapshot_format": "SAFETENSORS"}, ".solverstate"),
        ({"snapshot_format": "HDF5"}, ""),
    ],
)
def test_what_is_too_large_for_a_format(
    solver_of: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fields: dict[str, str], refused: str
) -> None:
    """A net of 2 GiB cannot be in a binary file of Caffe's: said before the run, not at its first snapshot."""
    monkeypatch.setattr(snapshot, "_LARGEST", 4 * 1386)
    solver = solver_of(max_iter=1, **fields)
    if refused:
        with pytest.raises(SnapshotError, match=rf"run_iter_0\{refused}: 5,\d\d\d bytes of numbers are too many for"):
            solver.solve()
    else:
        assert solver.solve()


@pytest.mark.parametrize("call", [10, 11])
def test_a_run_whose_data_is_at_fault_is_saved(
    solver_of: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    """Before the error ends the run, a snapshot is made; the run that resumes begins with the iteration that failed,
    whichever of its batches was at fault."""
    fields = {"iter_size": 2, "snapshot": 0, "test_interval": 0}
    solver = solver_of(**fields)
    source = solver.net.sources[0][1]
    real, calls = source.pending, iter(range(100))

    def failing() -> Pending:
        if next(calls) == call:
            raise DataError("record 7 is damaged")
        return real()

    monkeypatch.setattr(source, "pending", failing)
    with pytest.raises(DataError, match="record 7 is damaged"):
        solver.solve()
    other = solver_of(**fields)
    assert other.resume() == tmp_path / "run_iter_5.solverstate"
    assert other.net.sources[0][1].position == 5 * 2 * 32


# --- several snapshots ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("keep", "left"), [(0, (3, 6, 9, 12)), (1, (12,)), (2, (9, 12))])
def test_older_snapshots_are_deleted(solver_of: Build, tmp_path: Path, keep: int, left: tuple[int, ...]) -> None:
    """snapshot_keep pairs stay, the newest; 0 keeps all."""
    solver = solver_of(snapshot=3, snapshot_keep=keep)
    solver.step(12)
    assert names(tmp_path) == pairs(*left)


@pytest.mark.parametrize("snapshot_format", ["BINARYPROTO", "HDF5", "SAFETENSORS"])
def test_averaged_weights_are_deleted_with_their_snapshot(
    solver_of: Build, tmp_path: Path, snapshot_format: str
) -> None:
    """All three files of an older snapshot go, in every format, and none of another run's."""
    others = [tmp_path / name for name in ("run_iter_3.txt", "run2_iter_3.caffemodel", "run_best_iter_3.solverstate")]
    for file in others:
        file.touch()
    solver_of(snapshot=3, snapshot_keep=1, ema_decay=0.5, snapshot_format=snapshot_format).step(9)
    assert {name.partition(".")[0] for name in names(tmp_path)} == {"9", "9_ema", "3"}
    assert len(names(tmp_path)) == 4 and all(file.exists() for file in others)


def test_another_format_at_the_same_iteration(solver_of: Build, tmp_path: Path) -> None:
    """What is deleted of an older snapshot is not what a newer one of the same iteration needs."""
    solver = solver_of(snapshot=0)
    solver.step(3)
    solver.snapshot()
    other = solver_of(snapshot=0, snapshot_keep=1, snapshot_format="HDF5")
    other.resume()
    other.snapshot()
    assert names(tmp_path) == {"3.caffemodel.h5", "3.solverstate.h5"}
    assert solver_of().resume() == tmp_path / "run_iter_3.solverstate.h5"


def test_what_a_crash_left_of_an_older_snapshot_is_deleted(solver_of: Build, tmp_path: Path) -> None:
    """A state without its weights, where a process ended while it deleted them, goes with the next."""
    solver = solver_of(snapshot=0)
    for _ in range(2):
        solver.step(3)
        solver.snapshot()
    (tmp_path / "run_iter_3.caffemodel").unlink()
    other = solver_of(snapshot=3, snapshot_keep=1)
    other.resume()
    other.step(3)
    assert names(tmp_path) == pairs(9)


def test_a_snapshot_that_cannot_be_deleted(
    solver_of: Build, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is a warning with path and cause; the snapshot just made is as good as any."""
    solver = solver_of(snapshot=3, snapshot_keep=1)
    solver.step(3)

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if path.name.startswith("run_iter_3"):
            raise OSError(errno.EPERM, "Operation not permitted", str(path))

    monkeypatch.setattr(Path, "unlink", unlink)
    solver.step(3)
    assert solver.last_snapshot == tmp_path / "run_iter_6.solverstate"
    assert names(tmp_path) == pairs(3, 6)
    (line,) = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert "older snapshots cannot be deleted" in line
    assert str(tmp_path / "run_iter_3") in line and "Operation not permitted" in line


def test_a_damaged_snapshot_does_not_push_out_a_good_one(solver_of: Build, tmp_path: Path) -> None:
    """What was passed over on resuming stays, but does not count among those kept."""
    (tmp_path / "run_iter_60.solverstate").write_bytes(b"damaged")
    solver_of(snapshot=3, snapshot_keep=1).step(6)
    assert names(tmp_path) == {*pairs(6), "60.solverstate"}
    assert solver_of().resume() == tmp_path / "run_iter_6.solverstate"


@pytest.mark.parametrize("suffix", [".solverstate", ".caffemodel"])
@pytest.mark.parametrize("content", [b"", b"half of"])
def test_newest_whole_snapshot_is_resumed(
    solver_of: Build, tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str, content: bytes
) -> None:
    """One that cannot be used is named, kept and passed over; the one before it is taken."""
    solver_of(snapshot=3).step(9)
    broken = (tmp_path / "run_iter_9").with_suffix(suffix)
    broken.write_bytes(content)
    solver = solver_of()
    assert solver.resume() == tmp_path / "run_iter_6.solverstate"
    assert solver.iter == 6
    assert [
        record.message for record in caplog.records if str(broken) in record.message and record.levelname == "WARNING"
    ]
    assert broken.read_bytes() == content


def test_iterations_are_ordered_as_numbers(solver_of: Build, tmp_path: Path) -> None:
    """Iteration 10 is newer than 9."""
    solver_of(snapshot=1).step(10)
    assert solver_of().resume().name == "run_iter_10.solverstate"


def test_nothing_to_resume(solver_of: Build, tmp_path: Path) -> None:
    """Without a snapshot, and where none can be used, the message says which of both."""
    with pytest.raises(SnapshotError, match="there is no snapshot"):
        solver_of().resume()
    (tmp_path / "run_iter_5.solverstate").write_bytes(b"")
    with pytest.raises(SnapshotError, match="none of its snapshots can be used"):
        solver_of().resume()
