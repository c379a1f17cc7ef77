"""No instant of a run, and no failing system call, is one that it cannot be resumed from."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from netspec import Solver

TESTS = Path(__file__).parents[1]
TOOL = TESTS.parent / "tools" / "solve.py"
CALLS = ("open", "fsync", "replace", "rename", "unlink", "mkdir", "close")
"""Functions of `os` by which a snapshot is written."""


def run_script(name: str, *arguments: str) -> list[str]:
    """The lines of a script beside the tests, which must succeed."""
    command = [sys.executable, str(TESTS / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("signals", [["KILL"], ["INT", "TERM", "HUP"]], ids="-".join)
def test_killed_runs_end_as_the_uninterrupted_one(signals: list[str]) -> None:
    """Runs killed at random moments and resumed, with each format of snapshots, have the final weights and state of
    the one that was left alone."""
    assert run_script("crash.py", "--kills", "3", "--signal", *signals)[-1] == "3 of 3 identical"


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_system_calls_may_fail() -> None:
    """Some of the cases of tests/faults.py: a system call of a snapshot is killed, or fails with ENOSPC or EIO."""
    if subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True).returncode:
        pytest.skip("strace may not trace here")
    last = run_script("faults.py", "--every", "23")[-1]
    found = re.fullmatch(r"(\d+) of (\d+) as promised", last)
    assert found and found[1] == found[2] and int(found[1]) > 20


def killing(real: Callable[..., Any], calls: Iterator[int], last: int) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        if next(calls) == last:
            os._exit(9)
        return real(*args, **kwargs)

    return call


def test_killed_at_any_call(solver_of: Callable[..., Solver], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that ends at any call of a second snapshot, which replaces the first, leaves one of them whole."""
    solver, other = solver_of(snapshot_keep=1, ema_decay=0.5), solver_of(ema_decay=0.5)
    solver.step(3)
    solver.snapshot()
    shutil.copytree(tmp_path, tmp_path / "kept")
    solver.step(3)
    found, status, last = [], 1, 0
    while status:
        child = os.fork()
        if not child:
            calls = iter(range(1000))
            for name in CALLS:
                monkeypatch.setattr(os, name, killing(getattr(os, name), calls, last))
            solver.snapshot()
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status in (0, 9)
        other.resume()
        found.append(other.iter)
        for path in tmp_path.glob("*run_iter*"):
            path.unlink()
        shutil.copytree(tmp_path / "kept", tmp_path, dirs_exist_ok=True)
        last += 1
    assert len(found) > 15 and found == sorted(found) and set(found) == {3, 6}


def test_torchrun(tmp_path: Path) -> None:
    """Ctrl-C under torchrun: the worker finishes its iteration, writes a snapshot, and says how to resume."""
    solver = TESTS / "solver" / "digits.solver"
    settings = (f"snapshot_prefix={tmp_path / 'run'}", "max_iter=1000000", "snapshot=0", "test_interval=0", "display=1")
    options = [word for setting in settings for word in ("--set", setting)]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "1", TOOL, solver, *options]
    log = tmp_path / "log"
    with log.open("w") as file:
        agent = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)
    try:
        while "Iteration 3 " not in log.read_text() and agent.poll() is None:
            time.sleep(0.02)
        for number in (signal.SIGINT, signal.SIGINT):
            os.kill(agent.pid, number)
            time.sleep(0.001)
        agent.wait(timeout=60)
    finally:
        agent.kill()
    (state,) = tmp_path.glob("run_iter_*.solverstate")
    (line,) = [line for line in log.read_text().splitlines() if line.startswith("resume with: ")]
    assert line.endswith(f"--resume {state}")
