"""Damaged snapshots: none is loaded, and the one before is taken."""

import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from written import blobs, same

from netspec import SnapshotError, Solver
from netspec.schema.netspec_pb2 import SolverState

Build = Callable[..., Solver]
ANOTHER_NET = Path(__file__).parents[1] / "golden" / "training"


def flips(content: bytes) -> Iterator[bytes]:
    """500 copies with one bit flipped, every bit of the first and the last bytes among them."""
    size = len(content) * 8
    ends = [*range(40), *range(size - 40, size)]
    for bit in ends + random.Random(1).sample(range(40, size - 40), 500 - len(ends)):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        yield bytes(changed)


def truncations(content: bytes) -> Iterator[bytes]:
    """200 beginnings, among them the empty one and those that lack a few bytes."""
    size = len(content)
    chosen = {0, 1, 2, *(size - lacking for lacking in range(1, 40))}
    chosen |= set(random.Random(2).sample(sorted(set(range(size)) - chosen), 200 - len(chosen)))
    yield from (content[:end] for end in sorted(chosen))


def of_another_net(content: bytes) -> Iterator[bytes]:
    """A file that is whole, but of another net."""
    path = ANOTHER_NET / ("run_iter_100.caffemodel" if b"conv1" in content else "run_iter_100.solverstate")
    yield path.read_bytes()


@pytest.mark.parametrize("damage", [flips, truncations, of_another_net])
@pytest.mark.parametrize(
    ("snapshot_format", "name"),
    [
        *(("BINARYPROTO", f"run_iter_4{ending}") for ending in (".caffemodel", "_ema.caffemodel", ".solverstate")),
        *(("HDF5", f"run_iter_4{ending}") for ending in (".caffemodel.h5", "_ema.caffemodel.h5", ".solverstate.h5")),
        *(("SAFETENSORS", f"run_iter_4{ending}") for ending in (".safetensors", "_ema.safetensors", ".solverstate")),
    ],
)
def test_the_snapshot_before_a_damaged_one_is_resumed(
    solver_of: Build,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    snapshot_format: str,
    name: str,
    damage: Callable[[bytes], Iterator[bytes]],
) -> None:
    """A flipped bit, a missing end, or the file of another net: never loaded, always named, and passed over."""
    older = solver_of(ema_decay=0.5)
    older.step(3)
    first, expected = older.snapshot(), blobs(older)
    solver = solver_of(ema_decay=0.5, snapshot_format=snapshot_format)
    solver.resume()
    solver.step(1)
    newest = solver.snapshot()
    content = (tmp_path / name).read_bytes()
    caplog.set_level("WARNING", "netspec")  # thousands of other lines take longer than the rest
    for changed in damage(content):
        caplog.clear()
        (tmp_path / name).write_bytes(changed)
        assert solver.resume() == first
        warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
        assert len(warnings) == 1 and warnings[0].startswith(str(tmp_path / name))
    assert solver.iter == 3 and same(blobs(solver), expected)
    (tmp_path / name).write_bytes(content)
    assert solver.resume() == newest


@pytest.mark.parametrize("name", ["run_iter_3.solverstate", "run_iter_3.caffemodel"])
def test_a_refused_snapshot_changes_nothing(trained: tuple[Solver, Path], tmp_path: Path, name: str) -> None:
    """The solver stays as it was."""
    solver, state = trained
    solver.step(1)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-1])
    before = blobs(solver)
    with pytest.raises(SnapshotError, match=name):
        solver.restore(state)
    assert same(blobs(solver), before) and solver.iter == 4


def test_damaged_state_of_caffe_is_refused_or_read(trained: tuple[Solver, Path]) -> None:
    """Without our checksum, as from Caffe itself, a damaged state never ends in anything but a SnapshotError."""
    solver, path = trained
    state = SolverState.FromString(path.read_bytes())
    state.ClearField("run")
    state.ClearField("checksum")
    for changed in (*flips(state.SerializeToString()), *truncations(state.SerializeToString())):
        path.write_bytes(changed)
        try:
            solver.restore(path)
        except SnapshotError as error:
            assert str(path.parent) in str(error)


def test_a_whole_snapshot_of_another_net_is_passed_over(
    trained: tuple[Solver, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """All its checksums agree, and still it is not taken."""
    solver, state = trained
    other = Solver(ANOTHER_NET / "solver.prototxt", snapshot_prefix=str(tmp_path / "run"))
    other.step(5)
    foreign = other.snapshot()
    other.close()
    assert solver.resume() == state
    (line,) = [record.message for record in caplog.records if "trying the one before" in record.message]
    assert line.startswith(f"{foreign}: a snapshot of another net or solver type: 12 history blobs, not 9")


def cut_history(state: SolverState) -> None:
    del state.history[-1]


def reshape_history(state: SolverState) -> None:
    state.history[0].shape.dim[0] += 1


def shorten_history(state: SolverState) -> None:
    del state.history[0].data[-1]


def forget_history(state: SolverState) -> None:
    del state.history[:]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (cut_history, "another net or solver type: 8 history blobs, not 9"),
        (reshape_history, r"history blob 0 has shape \(9, 1, 3, 3\), not \(8, 1, 3, 3\)"),
        (shorten_history, "history blob 0 has 71 of 72 numbers"),
        (forget_history, "no iteration and no history"),
    ],
)
def test_foreign_history_is_refused(
    trained: tuple[Solver, Path], change: Callable[[SolverState], None], reason: str
) -> None:
    """A history that does not fit, in a state without our checksum, is refused and the difference is named."""
    solver, path = trained
    state = SolverState.FromString(path.read_bytes())
    state.ClearField("run")
    state.ClearField("checksum")
    change(state)
    path.write_bytes(state.SerializeToString())
    with pytest.raises(SnapshotError, match=reason):
        solver.restore(path)


def test_weights_of_another_snapshot_are_refused(trained: tuple[Solver, Path]) -> None:
    """A state does not take the weights of another iteration, though they would fit."""
    solver, first = trained
    solver.step(1)
    second = solver.snapshot()
    shutil.copy(first.with_suffix(".caffemodel"), second.with_suffix(".caffemodel"))
    with pytest.raises(SnapshotError, match=r"run_iter_4\.caffemodel: damaged"):
        solver.restore(second)


def test_weights_of_another_net_are_refused(trained: tuple[Solver, Path]) -> None:
    """Blobs of equal shapes under other layer names are those of another net."""
    solver, path = trained
    weights = path.with_suffix(".caffemodel")
    content = weights.read_bytes().replace(b"conv1", b"conv9")
    weights.write_bytes(content)
    state = SolverState.FromString(path.read_bytes())
    state.ClearField("run")
    state.ClearField("checksum")
    path.write_bytes(state.SerializeToString())
    with pytest.raises(SnapshotError, match="weights of another net: they lack conv1"):
        solver.restore(path)
