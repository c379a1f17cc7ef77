"""tools/time.py as a command; its figures are not looked at."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMALL = ["zoo/quickstart.prototxt", "--shape", "data=2,1,28,28", "--iterations", "2"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The finished command, run from the root of the repository."""
    command = [sys.executable, "tools/time.py", *arguments]
    env = {"PYTHONPATH": ".", "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def test_what_it_writes(tmp_path: Path) -> None:
    """A table with a line a layer, Caffe's lines on standard error, a trace with the layers, and all figures."""
    trace, figures = tmp_path / "trace.json", tmp_path / "time.json"
    done = run(*SMALL, "--phase", "TEST", "--trace", str(trace), "--json", str(figures))
    assert done.returncode == 0, done.stderr
    layers = json.loads(figures.read_text())["layers"]
    names = [layer["name"] for layer in layers]
    table = [line.split()[0] for line in done.stdout.split("\n\n")[1].splitlines()]
    assert table == ["layer", *names, "all", "whole"]
    assert {"conv1", "relu1", "loss", "accuracy"} <= set(names)
    assert all(layer["forward_ms"] > 0 for layer in layers)
    logged = [line.partition("] ")[2] for line in done.stderr.splitlines()]
    assert [line.split()[0] for line in logged if "\tforward: " in line] == names
    for words in ("Average Forward pass", "Average Backward pass", "Average Forward-Backward", "Total Time"):
        assert any(re.fullmatch(rf"{words}: [\d.e+-]+ ms\.", line) for line in logged), words
    assert logged[0] == "*** Benchmark begins ***"
    assert logged[-1] == "*** Benchmark ends ***"
    events = {event["name"] for event in json.loads(trace.read_text())["traceEvents"]}
    assert {*names, "aten::max_pool2d"} <= events
    assert any("ConvolutionBackward" in event for event in events)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["zoo/nin.prototext"], 'did you mean "zoo/nin.prototxt"?'),
        ([*SMALL, "--iterations", "0"], "--iterations must be at least 1"),
        ([*SMALL, "--shape", "image=1,3,48,48"], '"image" is no input of this net'),
        ([*SMALL, "--set", "max_iter=3"], "--set max_iter=3: LAYER.FIELD=VALUE is wanted"),
        ([*SMALL, "--weights", "none.caffemodel"], "none.caffemodel: there is no such file"),
        ([*SMALL, "--precision", "TF32"], "TF32 is a precision of GPUs"),
        ([*SMALL, "--trace", "zoo"], "zoo: cannot be written"),
    ],
)
def test_a_mistake_gets_one_message(arguments: list[str], message: str) -> None:
    """A mistake ends the command with a message and no traceback."""
    done = run(*arguments)
    assert done.returncode != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr
