"""Full disks and calls that fail: the run goes on, and the snapshot before stays whole."""

import csv
import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from written import blobs, names, pairs, same

from netspec import SnapshotError, Solver
from netspec.log import log_to_stderr, logger

Build = Callable[..., Solver]
FULL = OSError(errno.ENOSPC, "No space left on device")
BROKEN = OSError(errno.EIO, "Input/output error")
SYNCS = ("fsync", "replace", "rename")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with 256 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(file: Path) -> None:
    """Write until there is no byte left."""
    descriptor = os.open(file, os.O_CREAT | os.O_WRONLY)
    try:
        while True:
            os.write(descriptor, bytes(1024))
    except OSError as error:
        assert error.errno == errno.ENOSPC
    finally:
        os.close(descriptor)


def test_log_lines_on_a_full_disk(solver_of: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the lines of the log go to a full disk the run goes on."""
    full = Path("/dev/full")
    if not full.is_char_device():
        pytest.skip("there is no /dev/full here")
    monkeypatch.setattr(logger, "handlers", [])
    log_to_stderr()
    with suppress(OSError), full.open("w", buffering=1) as stream:
        monkeypatch.setattr("sys.stderr", stream)
        solver_of(max_iter=4, display=1, snapshot_prefix=str(tmp_path / "run")).solve()
    assert (tmp_path / "run_iter_4.caffemodel").is_file()


@pytest.mark.parametrize("snapshot_format", ["BINARYPROTO", "HDF5", "SAFETENSORS"])
def test_run_on_a_disk_that_is_full_for_a_while(
    solver_of: Build, small_disk: Path, caplog: pytest.LogCaptureFixture, snapshot_format: str
) -> None:
    """Snapshots and log find no space and say so; what was there loads; once there is space again all is written."""
    fields = {"max_iter": 12, "snapshot": 3, "snapshot_keep": 1, "display": 1, "snapshot_format": snapshot_format}
    straight = solver_of(**fields)
    straight.step(12)
    fields["snapshot_prefix"] = str(small_disk / "run")
    other, solver = solver_of(**fields, random_seed=99), solver_of(**fields)
    passes = solver._forward_backward

    def in_between() -> object:
        if solver.iter == 4:
            fill(small_disk / "filler")
        elif solver.iter == 7:
            with torch.random.fork_rng():
                assert other.resume().name.startswith("run_iter_3.")
            (small_disk / "filler").unlink()
        return passes()

    solver._forward_backward = in_between  # type: ignore[method-assign, assignment]
    assert solver.solve()
    errors = [record.message for record in caplog.records if record.levelname == "ERROR"]
    (snapshot,) = [line for line in errors if "run_iter_6" in line]
    for part in (str(small_disk), "No space left on device", "bytes needed", " free", "is tried again when it is due"):
        assert part in snapshot
    assert other.resume().name.startswith("run_iter_12.") and not list(small_disk.glob(".*.tmp"))
    assert same(blobs(other), blobs(straight))
    (log,) = small_disk.glob("*log.csv")
    assert [row["iteration"] for row in csv.DictReader(log.open())] == [str(number) for number in range(13)]


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


@pytest.mark.parametrize("error", [FULL, BROKEN], ids=["ENOSPC", "EIO"])
@pytest.mark.parametrize("call", range(6))
def test_any_call_of_a_snapshot_may_fail(
    solver_of: Build, tmp_path: Path, failing: Callable, call: int, error: OSError
) -> None:
    """Whichever call fails, what is resumed is the snapshot before or the new one, whole, and nothing lies about."""
    solver = solver_of(snapshot=3)
    solver.step(5)
    with failing(SYNCS, range(call, call + 1), error):
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


def test_a_run_is_shown_to_its_end_before_its_last_snapshot_fails(
    solver_of: Build, caplog: pytest.LogCaptureFixture, failing: Callable
) -> None:
    """Where the disk is full at the end, the last test is run and shown all the same, and then the snapshot is tried
    once more: that it fails is an error, that there is room by then is none."""
    for calls, is_saved in ((range(1000), False), (range(1), True)):
        caplog.clear()
        solver = solver_of(snapshot=0, max_iter=4, test_interval=4)
        with failing(SYNCS, calls, FULL):
            if is_saved:
                assert solver.solve()
            else:
                with pytest.raises(SnapshotError, match="No space left on device"):
                    solver.solve()
        assert [record.message for record in caplog.records if "Iteration 4, Testing" in record.message]
