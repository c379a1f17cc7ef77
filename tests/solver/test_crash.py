"""No instant of a run is one that it cannot be resumed from."""

import subprocess
import sys
from pathlib import Path

import pytest

CRASH = Path(__file__).parents[1] / "crash.py"


@pytest.mark.parametrize("number", ["KILL", "INT"])
def test_killed_runs_end_as_the_uninterrupted_one(number: str) -> None:
    """Runs killed at random moments and resumed have the final weights and state of the one that was left alone."""
    command = [sys.executable, str(CRASH), "--kills", "3", "--signal", number]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "3 of 3 identical"
