"""What is freed stays with the process."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from netspec import Solver, allocator
from netspec.allocator import keep_freed_memory

SOLVER = Path(__file__).parent / "solver" / "digits.solver"

PROGRAM = """
import resource
import sys

import torch

from netspec.allocator import keep_freed_memory

if sys.argv[1] == "kept" and not keep_freed_memory():
    sys.exit(2)
faults = []
for turn in range(30):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blobs = [torch.empty(1 << 27) for _ in range(int(sys.argv[2]))]
    for blob in blobs:
        blob[:: 1 << 16] = 1
    del blob, blobs
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(*faults[10:])
"""


@pytest.mark.skipif(not keep_freed_memory(), reason="the C library is not glibc")
@pytest.mark.parametrize("count", ["1", "6"])
def test_pages_are_not_asked_for_again(count: str) -> None:
    """Blobs that are freed and allocated anew, 3 GiB too, cost page faults by default, and nearly none once memory is
    kept: in three of four turns at least, as they move on where something small has come to lie in their place."""
    kept, returned = (
        [int(text) for text in subprocess.check_output([sys.executable, "-c", PROGRAM, way, count]).split()]
        for way in ("kept", "returned")
    )
    assert min(returned) > 100
    assert sorted(kept)[14] < min(returned) / 10


def test_another_system_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no glibc nothing is done, and nothing fails."""
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()


class Glibc:
    """A C library that notes what it is asked for."""

    def __init__(self) -> None:
        self.options: list[int] = []

    def gnu_get_libc_version(self) -> bytes:
        return b"2.36"

    def mallopt(self, option: int, _: int) -> int:
        self.options.append(option)
        return 1


@pytest.mark.parametrize(("fields", "options"), [({}, [-3, -1]), ({"keep_memory": False}, [])])
def test_a_run_asks_for_it_unless_told_not_to(
    fields: dict[str, bool],
    options: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """By default glibc keeps what is freed, and the log says so; with keep_memory: false neither is the case."""
    caplog.set_level("INFO", "netspec")
    glibc = Glibc()
    monkeypatch.setenv("NETSPEC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(allocator, "ctypes", SimpleNamespace(CDLL=lambda _: glibc))
    solver = Solver(SOLVER, snapshot_prefix=str(tmp_path / "run"), **fields)
    solver.tune(1)
    solver.close()
    (line,) = (message for message in caplog.messages if message.startswith("Speed: "))
    assert glibc.options == options
    assert ("freed memory is kept" in line) is bool(options)
