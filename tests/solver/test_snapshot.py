"""Snapshots: what is in them, what is refused, what survives a full disk."""

import errno
import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.unknown_fields import UnknownFieldSet

from netspec import SnapshotError, Solver
from netspec.schema import netspec_pb2
from netspec.schema.netspec_pb2 import SolverState
from netspec.solver.state_file import read_state

Build = Callable[..., Solver]
STRANGERS = 10000
"""From this field number on, fields are ours and not Caffe's."""


def blobs(solver: Solver) -> list[torch.Tensor]:
    """Copies of every weight, statistic and history blob."""
    live = [*(blob for layer in solver.net.layer_params.values() for blob in layer), *solver.update.history]
    return [blob.detach().clone() for blob in live]


def same(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.fixture
def trained(solver_of: Build) -> tuple[Solver, Path]:
    """A solver after 3 iterations, and its snapshot there."""
    solver = solver_of()
    solver.step(3)
    return solver, solver.snapshot()


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


# --- several snapshots ------------------------------------------------------------------------------------------


def names(folder: Path) -> set[str]:
    """The iterations and suffixes of the snapshot files in a folder, and whatever else is named like them."""
    return {path.name.removeprefix("run_iter_") for path in folder.iterdir() if "run_iter" in path.name}


def pairs(*iterations: int) -> set[str]:
    return {f"{iteration}.{suffix}" for iteration in iterations for suffix in ("caffemodel", "solverstate")}


@pytest.mark.parametrize(("keep", "left"), [(0, (3, 6, 9, 12)), (1, (12,)), (2, (9, 12))])
def test_older_snapshots_are_deleted(solver_of: Build, tmp_path: Path, keep: int, left: tuple[int, ...]) -> None:
    """snapshot_keep pairs stay, the newest; 0 keeps all."""
    solver = solver_of(snapshot=3, snapshot_keep=keep)
    solver.step(12)
    assert names(tmp_path) == pairs(*left)


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


# --- full disk --------------------------------------------------------------------------------------------------

FULL = OSError(errno.ENOSPC, "No space left on device")
SYNCS = ("fsync", "replace", "rename")


def test_run_goes_on_when_the_disk_is_full(
    solver_of: Build, tmp_path: Path, caplog: pytest.LogCaptureFixture, failing: Callable
) -> None:
    """A snapshot that finds the disk full is reported with path and bytes and leaves nothing; the next one is made."""
    solver = solver_of(snapshot=3)
    with failing(SYNCS, range(1), FULL):
        solver.step(6)
    assert names(tmp_path) == pairs(6)
    (line,) = [record.message for record in caplog.records if record.levelname == "ERROR"]
    for part in (str(tmp_path / "run_iter_3.caffemodel"), "No space left on device", "bytes needed", " free"):
        assert part in line


def test_run_goes_on_when_files_may_not_grow(
    solver_of: Build, tmp_path: Path, caplog: pytest.LogCaptureFixture, file_limit: Callable
) -> None:
    """The same where the system cuts a file short in the middle of a write."""
    solver = solver_of(snapshot=3)
    solver.step(2)
    with file_limit(1000):
        solver.step(2)
    assert names(tmp_path) == set()
    assert "run_iter_3.caffemodel: cannot be written: File too large" in caplog.text
    solver.step(2)
    assert names(tmp_path) == pairs(6)


@pytest.mark.parametrize("call", range(6))
def test_any_call_of_a_snapshot_may_fail(solver_of: Build, tmp_path: Path, failing: Callable, call: int) -> None:
    """Whichever call fails, what is resumed is the snapshot before or the new one, whole, and nothing lies about."""
    solver = solver_of(snapshot=3)
    solver.step(5)
    with failing(SYNCS, range(call, call + 1), FULL):
        solver.step(1)
    assert not list(tmp_path.glob(".*.tmp"))
    other = solver_of(random_seed=99)
    assert other.resume().name in ("run_iter_3.solverstate", "run_iter_6.solverstate")
    other.step(6 - other.iter)
    assert same(blobs(other), blobs(solver))


def test_last_snapshot_must_succeed(solver_of: Build, failing: Callable) -> None:
    """At the end there is no next time: a snapshot that fails ends the run with the error."""
    solver = solver_of(snapshot=3, max_iter=6)
    with (
        failing(SYNCS, range(1000), FULL),
        pytest.raises(SnapshotError, match=r"run_iter_6\.caffemodel: cannot be written"),
    ):
        solver.solve()
