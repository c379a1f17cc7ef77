"""Two runs under one snapshot prefix."""

import fcntl
import os
import re
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from netspec import SnapshotError, Solver
from netspec.solver.lock import only_run

Build = Callable[..., Solver]


@contextmanager
def another_run(prefix: Path) -> Iterator[int]:
    """The process id of a run that holds a prefix until it is killed."""
    ready, is_ready = os.pipe()
    process = os.fork()
    if not process:
        with only_run(str(prefix)):
            os.write(is_ready, b".")
            signal.pause()
    assert os.read(ready, 1)
    try:
        yield process
    finally:
        kill(process)


def kill(process: int) -> None:
    with suppress(ProcessLookupError, ChildProcessError):
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


def test_the_second_run_refuses(solver_of: Build, tmp_path: Path) -> None:
    """It names the first by process, host and time, and writes nothing; after a kill -9 of the first it runs."""
    solver = solver_of(max_iter=2)
    with another_run(tmp_path / "run") as first:
        before = sorted(tmp_path.iterdir())
        since = r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
        named = f"process {first} on {re.escape(socket.gethostname())} {since}"
        with pytest.raises(SnapshotError, match=rf"run: a run is on under this snapshot_prefix already: {named}$"):
            solver.solve()
        assert sorted(tmp_path.iterdir()) == before
        kill(first)
        assert solver_of(max_iter=2).solve()


def test_other_prefixes_are_free(solver_of: Build, tmp_path: Path) -> None:
    """A run beside it, under another prefix, is none of its business."""
    with another_run(tmp_path / "other"):
        assert solver_of(max_iter=2).solve()


def test_steps_by_hand_are_free(solver_of: Build, tmp_path: Path) -> None:
    """Only `solve` holds the prefix: a program that takes its own steps may do as it likes."""
    with another_run(tmp_path / "run"):
        solver = solver_of()
        solver.step(2)
        assert solver_of().resume() if solver.snapshot() else None


@pytest.mark.parametrize("content", [b"", b"process 1 on x since y", b"\xff" * 9000])
def test_a_stale_file_is_no_obstacle(tmp_path: Path, content: bytes) -> None:
    """What an ended run left is overwritten."""
    path = tmp_path / ".run.lock"
    path.write_bytes(content)
    with only_run(str(tmp_path / "run")):
        assert path.read_text().startswith(f"process {os.getpid()} on ")


def test_a_holder_without_a_name(tmp_path: Path) -> None:
    """Where the file says nothing, as after a full disk, the prefix is held all the same."""
    with (tmp_path / ".run.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(SnapshotError, match="another process"), only_run(str(tmp_path / "run")):
            pytest.fail("the prefix is held")


def test_a_full_disk_does_not_open_the_lock(tmp_path: Path, file_limit: Callable) -> None:
    """The lock is held though its name cannot be written."""
    prefix = str(tmp_path / "run")
    with file_limit(0), only_run(prefix), pytest.raises(SnapshotError, match="another process"), only_run(prefix):
        pytest.fail("the prefix is held")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """The message has path and cause."""
    reason = r"absent/\.run\.lock: cannot be written: No such file or directory"
    with pytest.raises(SnapshotError, match=reason), only_run(str(tmp_path / "absent" / "run")):
        pytest.fail("there is no such folder")


def test_without_locks_there_is_no_guard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a file system that has no locks the run is not refused."""

    def flock(file: int, operation: int) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", flock)
    with only_run(str(tmp_path / "run")), only_run(str(tmp_path / "run")):
        pass
