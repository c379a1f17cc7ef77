"""tools/solve.py: what it prints, how it ends, and that the command it prints resumes the run."""

import os
import runpy
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from netspec.log import logger

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools" / "solve.py"
SOLVER = ROOT / "tests" / "solver" / "digits.solver"


@pytest.fixture(autouse=True)
def log_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave the log of the test process as it was."""
    monkeypatch.setattr(logger, "handlers", [])
    level = logger.level
    yield
    logger.setLevel(level)


def solve(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str | int | None:
    """Run the tool in this process; what it ends with."""
    monkeypatch.setattr(sys, "argv", [str(TOOL), *arguments])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(TOOL), run_name="__main__")
    return ended.value.code


def settings(tmp_path: Path, *more: str) -> list[str]:
    """The solver file and a few settings that make a short run into the test's folder."""
    pairs = (f"snapshot_prefix={tmp_path / 'run'}", "test_interval=0", *more)
    return [str(SOLVER), *(word for pair in pairs for word in ("--set", pair))]


def test_a_run_to_its_end(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Ends with 0, a snapshot of the last iteration, and Caffe's last line on standard error."""
    assert solve(monkeypatch, *settings(tmp_path, "max_iter=3")) == 0
    assert (tmp_path / "run_iter_3.solverstate").exists()
    out, err = capsys.readouterr()
    assert out == "" and err.splitlines()[-1].endswith("Optimization Done.")


def test_weights_and_resume(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """--weights starts a run from weights; --resume goes on, from the newest snapshot or from the one named."""
    assert solve(monkeypatch, *settings(tmp_path, "max_iter=9")) == 0
    weights = str(tmp_path / "run_iter_7.caffemodel")
    capsys.readouterr()
    for resume, start in ((["--weights", weights], 0), (["--resume"], 9), (["--resume", weights], 7)):
        assert solve(monkeypatch, *settings(tmp_path, "max_iter=10", "display=1"), *resume) == 0
        err = capsys.readouterr().err
        assert f"Iteration {start} (" in err
        (tmp_path / "run_iter_10.solverstate").unlink()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.solver"], "error: missing.solver:1:1: there is no such file"),
        ([str(SOLVER), "--set", "max_iter=x"], "max_iter: x"),
        ([str(SOLVER), "--set", "max_itre=3"], 'did you mean "max_iter"?'),
        ([str(SOLVER), "--set", "momentum=2"], "momentum must be below 1"),
        ([str(SOLVER), "--set", "cnov1.type=TanH"], 'did you mean "conv1"?'),
        ([str(SOLVER), "--weights", "missing.caffemodel"], "missing.caffemodel: there is no such file"),
        ([str(SOLVER), "--resume", "missing.solverstate"], "missing.solverstate: there is no such file"),
        ([str(SOLVER), "--set", "snapshot_prefix=missing/run", "--resume"], "there is no snapshot to resume from"),
        ([str(SOLVER), "--weights", "a", "--resume"], "not allowed with argument --weights"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_mistake_is_one_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    """What the user got wrong is said at the end of the program, without a traceback."""
    code = solve(monkeypatch, *arguments)
    assert code not in (0, None)
    message = str(code) + capsys.readouterr().err
    assert said in message and "Traceback" not in message


def test_quiet(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """With --quiet nothing is shown of a run that goes well, and of another its warnings; its log has every row."""
    quick = settings(tmp_path, "max_iter=3", "display=1")
    assert solve(monkeypatch, *quick, "--quiet") == 0
    assert capsys.readouterr() == ("", "")
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 5
    assert solve(monkeypatch, *quick, "--quiet") == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("W") and "is of an earlier run" in line


def test_dry_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """With --dry-run it is said what the run will be, of a resumed one too, and nothing is written."""
    run = settings(tmp_path, "max_iter=3")
    assert solve(monkeypatch, *run, "--dry-run") == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"solver      {SOLVER}: SGD, iterations 0 to 3\n") and err == ""
    assert not [path for path in tmp_path.iterdir() if path.name != "cache"]
    assert solve(monkeypatch, *run) == 0
    capsys.readouterr()
    assert solve(monkeypatch, *run, "--set", "max_iter=5", "--resume", "--dry-run") == 0
    assert ": SGD, iterations 3 to 5\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ('freeze={layer: "conv1" until: 100}', "1,306 learned, 97 frozen or statistics"),
        ('freeze=[{layer: "conv1"}, {layer: "bn1" layer: "scale1"}]', "1,290 learned, 113 frozen or statistics"),
        ("stepvalue=[1,2]", "0.0005 at 2 (multistep)"),
        ("test_state={stage: 'small'}", "tests"),
        ("train_state.level=1", "tests"),
        ("snapshot_format=HDF5", "run_iter_3.solverstate.h5"),
    ],
)
def test_any_field_is_set(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, setting: str, said: str
) -> None:
    """--set takes messages, lists, and fields inside messages."""
    more = ("max_iter=3", "test_interval=2", "test_iter=1")
    assert solve(monkeypatch, *settings(tmp_path, *more, setting), "--dry-run") == 0
    assert said in capsys.readouterr().out


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGUSR1"])
def test_the_last_line_resumes(name: str, tmp_path: Path) -> None:
    """A signal ends a run with a snapshot; the last line printed is the command that goes on, and it does."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NETSPEC_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, str(TOOL), *settings(tmp_path, "max_iter=1000000", "snapshot=0")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as run:
        assert run.stderr is not None
        next(line for line in run.stderr if "Iteration 5 " in line)
        run.send_signal(signal.Signals[name])
        printed = run.stderr.read().splitlines()
    assert run.returncode == 128 + signal.Signals[name]
    words = shlex.split(printed[-1].removeprefix("resume with:"))
    (state,) = tmp_path.glob("*.solverstate")
    stopped = int(state.stem.rpartition("_")[2])
    more = ["--set", f"max_iter={stopped + 2}"]
    done = subprocess.run([sys.executable, *words[1:], *more], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert f"Resuming from {state} at iteration {stopped}" in done.stderr
    assert (tmp_path / f"run_iter_{stopped + 2}.solverstate").exists()
