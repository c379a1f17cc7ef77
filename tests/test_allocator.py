"""What is freed stays with the process."""

import subprocess
import sys

import pytest

from netspec.allocator import keep_freed_memory

PROGRAM = """
import resource
import sys

import torch

from netspec.allocator import keep_freed_memory

if sys.argv[1] == "kept" and not keep_freed_memory():
    sys.exit(2)
for turn in range(30):
    if turn == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blobs = [torch.empty(1 << 27) for _ in range(int(sys.argv[2]))]
    for blob in blobs:
        blob[:: 1 << 16] = 1
    del blob, blobs
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not keep_freed_memory(), reason="the C library is not glibc")
@pytest.mark.parametrize("count", ["1", "6"])
def test_pages_are_not_asked_for_again(count: str) -> None:
    """Blobs that are freed and allocated anew, 3 GiB too, cost page faults by default, and nearly none once memory is
    kept."""
    faults = {
        way: int(subprocess.run([sys.executable, "-c", PROGRAM, way, count], capture_output=True, check=True).stdout)
        for way in ("kept", "returned")
    }
    assert faults["returned"] > 100
    assert faults["kept"] < faults["returned"] / 10


def test_another_system_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no glibc nothing is done, and nothing fails."""
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()
