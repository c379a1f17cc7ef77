"""tools/summary.py as a command."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The finished command, run from the root of the repository."""
    command = [sys.executable, "tools/summary.py", *arguments]
    return subprocess.run(command, cwd=ROOT, env={"PYTHONPATH": "."}, capture_output=True, text=True, check=False)


def test_both_phases_are_shown_by_default() -> None:
    """Without --phase there is a table for each phase."""
    done = run("zoo/nin.prototxt", "--shape", "data=2,3,48,48")
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if "phase" in line] == ["NIN, phase TRAIN", "NIN, phase TEST"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["zoo/nin.prototext"], 'did you mean "zoo/nin.prototxt"?'),
        (["zoo/nin.prototxt", "--shape", "image=1,3,48,48"], '"image" is no input of this net'),
        (["zoo/nin.prototxt", "--shape", "data=48x48"], "argument --shape: invalid shape value: 'data=48x48'"),
        (["zoo/nin.prototxt", "--shape", "data=0,3,48,48"], "argument --shape: invalid shape value"),
    ],
)
def test_a_mistake_gets_one_message(arguments: list[str], message: str) -> None:
    """A mistake ends the command with a message and no traceback."""
    done = run(*arguments)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_help_does_not_import_torch() -> None:
    """--help answers without loading torch."""
    program = "import runpy, sys; sys.path.insert(0, 'tools'); sys.argv = ['summary.py', '--help']\n"
    program += "try: runpy.run_path('tools/summary.py', run_name='__main__')\nexcept SystemExit: pass\n"
    done = subprocess.run(
        [sys.executable, "-c", program + "print('torch' in sys.modules)"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "--shape BLOB=1,3,64,64" in done.stdout
    assert done.stdout.splitlines()[-1] == "False"
