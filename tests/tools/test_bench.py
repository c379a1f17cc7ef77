"""tools/bench.py as a command, with settings that measure nothing: its figures are not looked at."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TINY = ["--rounds", "1", "--batch", "2", "--seconds", "0.01", "--threads", "1"]


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """The finished command, run from the root of the repository."""
    env = {"PYTHONPATH": f".:{ROOT / 'tools'}"}
    return subprocess.run([sys.executable, *command], cwd=ROOT, env=env, capture_output=True, text=True, check=False)


NETS = [(net, mark) for net in ("nin", "alexnet") for mark in (">= 0.98", "", ">= 1.3", "< 0.05")]
DATA = [("data", ">= 2.5"), ("data", ">= 12"), ("nin", ">= 0.97"), ("alexnet", ">= 0.97")]


@pytest.mark.parametrize(("what", "marks"), [([], NETS), (["data"], DATA)], ids=["nets", "data"])
def test_bench_measures(what: list[str], marks: list[tuple[str, str]], tmp_path: Path) -> None:
    """Both sides have equal losses, or the bench would end; it prints a line a measurement and writes the same."""
    file = tmp_path / "bench.json"
    done = run("tools/bench.py", *what, *TINY, "--json", str(file))
    assert done.returncode == 0, done.stderr
    results = json.loads(file.read_text())["results"]
    assert [(result["net"], result["mark"]) for result in results] == marks
    lines = done.stdout.splitlines()[2:]
    for result, line in zip(results, lines, strict=True):
        assert line.startswith(result["net"])
        assert result["what"] in line
        assert f"{result['value']:.3f}" in line
        assert line.endswith({True: " met", False: " MISSED", None: ")"}[result["met"]])


@pytest.mark.parametrize(
    ("change", "iteration"),
    [
        ("runs.Loop = lambda net, batches, rate, *rest: loop(net, batches, 2 * rate, *rest)", 1),
        ("runs.NETS['alexnet'] = lambda classes: nets.alexnet(classes)[:1] + nets.alexnet(classes)[2:]", 0),
    ],
    ids=["rate", "no relu1"],
)
def test_unequal_sides_are_refused(change: str, iteration: int) -> None:
    """Where the sides compute different things, the first loss that differs ends the bench."""
    program = "import sys, bench, bench_nets as nets, bench_runs as runs; loop = runs.Loop; "
    done = run("-c", f"{program}{change}; sys.argv[0] = 'bench.py'; bench.main()", *TINY, "--nets", "alexnet")
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith(f"alexnet: in iteration {iteration} the loss is ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nets", "lenet"], "invalid nets value: 'lenet'"),
        (["--rounds", "0"], "must be at least 1"),
        (["--data", "nowhere"], "error: nowhere/train_lmdb: no such file or folder"),
        (["decoding"], "invalid choice: 'decoding'"),
    ],
)
def test_a_mistake_gets_one_message(arguments: list[str], message: str) -> None:
    """A mistake ends the command with a message and no traceback."""
    done = run("tools/bench.py", *arguments)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
