"""What reaches a run from outside: edits of the solver file, and signals."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from netspec import Solver, SpecError
from netspec.solver.control import Signals
from netspec.solver.rates import learning_rate

Build = Callable[..., Solver]
Edit = Callable[..., None]


@pytest.fixture
def running(solver_of: Build) -> tuple[Solver, Path]:
    """A run after 2 iterations, and its solver file."""
    solver = solver_of(lr_policy="fixed", test_interval=0, snapshot=0)
    solver.step(2)
    return solver, Path(solver.document.path)


def lines(caplog: pytest.LogCaptureFixture, part: str) -> list[str]:
    """The log lines with some words in them."""
    return [record.message for record in caplog.records if part in record.message]


# --- edits ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "was"),
    [("base_lr", 0.25, 0.05), ("max_iter", 9, 60), ("display", 1, 0), ("snapshot", 3, 0), ("test_interval", 3, 0)],
)
def test_an_edit_takes_effect_at_the_next_iteration(
    running: tuple[Solver, Path], edit: Edit, caplog: pytest.LogCaptureFixture, field: str, value: Any, was: Any
) -> None:
    """An editable field has its new value from the next iteration on, and a line of the log says so."""
    solver, path = running
    edit(path, **{field: value})
    assert getattr(solver.param, field) == pytest.approx(was)
    solver.step(1)
    assert getattr(solver.param, field) == value
    assert lines(caplog, "by hand") == [f"Iteration 2, {field} = {value:g} by hand (was {was:g})"]


def test_what_edits_do(running: tuple[Solver, Path], edit: Edit, caplog: pytest.LogCaptureFixture) -> None:
    """The rate, the display, the snapshots and the end of the run follow the file."""
    solver, path = running
    edit(path, base_lr=0.25, display=1, snapshot=3, max_iter=5)
    assert solver.solve() and solver.iter == 5
    assert learning_rate(solver.param, 2) == 0.25
    assert lines(caplog, ", lr =") == [f"Iteration {iteration}, lr = 0.25" for iteration in (2, 3, 4)]
    assert sorted(file.name for file in path.parent.glob("*.solverstate")) == [
        "run_iter_3.solverstate",
        "run_iter_5.solverstate",
    ]


def test_a_broken_edit_is_reported_and_ignored(running: tuple[Solver, Path], caplog: pytest.LogCaptureFixture) -> None:
    """A text that is wrong is shown with its line; the run goes on as before, and takes the text once it is right."""
    solver, path = running
    text, stamp = path.read_text(), path.stat().st_mtime_ns
    for second, (old, new) in enumerate([("base_lr: 0.05", "base_lr: x"), ("base_lr: 0.05", "base_lr: -1")], 1):
        path.write_text(text.replace(old, new))
        os.utime(path, ns=(stamp, stamp + second * 1_000_000_000))
        line = text[: text.index(old)].count("\n") + 1
        solver.step(2)
        (report,) = [record for record in caplog.records if record.levelname == "ERROR"]
        assert f"{path}:{line}:" in report.message
        caplog.clear()
    assert solver.param.base_lr == pytest.approx(0.05)
    path.write_text(text.replace("base_lr: 0.05", "base_lr: 0.25"))
    os.utime(path, ns=(stamp, stamp + 9_000_000_000))
    solver.step(1)
    assert solver.param.base_lr == 0.25


def test_a_field_that_cannot_change_is_named(
    running: tuple[Solver, Path], edit: Edit, caplog: pytest.LogCaptureFixture
) -> None:
    """An edit of another field changes nothing, and the log says which."""
    solver, path = running
    edit(path, momentum=0.5, max_iter=50)
    solver.step(1)
    assert solver.param.momentum == pytest.approx(0.9)
    assert solver.param.max_iter == 50
    assert lines(caplog, "momentum") == [f"{path}: momentum cannot change during a run; the edit is ignored"]


def test_a_solver_file_that_goes_away_changes_nothing(running: tuple[Solver, Path]) -> None:
    """The run goes on without its file."""
    solver, path = running
    path.unlink()
    solver.step(1)
    assert solver.iter == 3


@pytest.mark.parametrize(
    ("in_file", "in_force", "said"),
    [
        ((0.05, 0.25), 0.25, "base_lr = 0.25, as moved by hand before the snapshot"),
        ((0.25, 0.05), 0.25, "base_lr = 0.25, as moved by hand before the snapshot"),
        ((0.5, 0.5), 0.5, "base_lr = 0.5 by hand (was 0.25)"),
    ],
    ids=["original restored", "moved", "third value"],
)
def test_a_snapshot_remembers_edits(
    running: tuple[Solver, Path],
    solver_of: Build,
    edit: Edit,
    caplog: pytest.LogCaptureFixture,
    in_file: tuple[float, float],
    in_force: float,
    said: str,
) -> None:
    """A moved value holds after a resume, and after the next; a value that is neither the first nor the moved one is
    a new edit and wins."""
    solver, path = running
    edit(path, base_lr=0.25)
    solver.step(1)
    solver.snapshot()
    for iteration, value in enumerate(in_file, 3):
        caplog.clear()
        other = solver_of(lr_policy="fixed", test_interval=0, snapshot=0, base_lr=value)
        other.resume()
        assert other.param.base_lr == in_force
        if iteration == 3:
            assert lines(caplog, "base_lr") == [f"Iteration 3, {said}"]
        other.step(1)
        assert other.param.base_lr == in_force
        other.snapshot()


# --- signals ----------------------------------------------------------------------------------------------------


def send(solver: Solver, number: int, at: int) -> None:
    """Let a signal arrive in the middle of an iteration."""
    real = solver._forward_backward

    def passes() -> Any:
        if solver.iter == at:
            os.kill(os.getpid(), number)
        return real()

    solver._forward_backward = passes  # type: ignore[method-assign]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_stopping_signal_ends_the_run_with_a_snapshot(solver_of: Build, number: int, tmp_path: Path) -> None:
    """The iteration under way is finished and saved, whatever the solver file says; handlers are put back."""
    before = signal.getsignal(number)
    solver = solver_of(snapshot=0, snapshot_after_train=False)
    send(solver, number, 4)
    assert solver.solve() is False
    assert solver.signals.stop == number
    assert [file.name for file in tmp_path.glob("*.solverstate")] == ["run_iter_5.solverstate"]
    assert signal.getsignal(number) is before


def test_hangup_takes_a_snapshot_and_goes_on(solver_of: Build, tmp_path: Path) -> None:
    """SIGHUP asks for one snapshot."""
    solver = solver_of(snapshot=0, max_iter=8)
    send(solver, signal.SIGHUP, 4)
    assert solver.solve() is True
    assert {file.name for file in tmp_path.glob("*.solverstate")} == {
        "run_iter_5.solverstate",
        "run_iter_8.solverstate",
    }


def test_second_interrupt_ends_at_once(solver_of: Build, tmp_path: Path) -> None:
    """A second SIGINT does not wait for the iteration, and writes nothing."""
    solver = solver_of(snapshot=0)

    def passes() -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("the second SIGINT was waited for")

    solver._forward_backward = passes  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        solver.solve()
    assert not list(tmp_path.glob("*.solverstate"))


@pytest.mark.parametrize("iterations", [[3], []], ids=["batches", "whole"])
def test_a_signal_ends_a_test_early(
    solver_of: Build, monkeypatch: pytest.MonkeyPatch, iterations: list[int], tmp_path: Path
) -> None:
    """A run that is stopped while it tests does not finish the test; the resumed run starts it again, on the same
    records for every test net."""
    fields = {"test_iter": iterations * 2, "snapshot": 0}
    expected = solver_of(**fields).test()
    solver = solver_of(**fields)
    nets = solver.test_nets
    forward = nets[-1].forward

    def interrupted(**inputs: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return forward(**inputs)

    monkeypatch.setattr(nets[-1], "forward", interrupted)
    assert solver.solve() is False
    assert solver.iter == 0
    assert [file.name for file in tmp_path.glob("*.solverstate")] == ["run_iter_0.solverstate"]
    other = solver_of(**fields)
    other.resume()
    assert other.test() == expected


def test_a_signal_after_a_test(solver_of: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that was judged is not judged again by the run that resumes: its iteration is finished first."""
    fields = {"watch": "accuracy", "snapshot_best": True, "snapshot": 0}
    solver = solver_of(**fields)
    write = solver._save

    def interrupted(prefix: str, *args: Any) -> Path:
        if prefix.endswith("_best") and solver.iter == 10:
            os.kill(os.getpid(), signal.SIGTERM)
        return write(prefix, *args)

    monkeypatch.setattr(solver, "_save", interrupted)
    assert solver.solve() is False and solver.iter == 11


def test_signals_are_not_caught_outside_a_run() -> None:
    """Only inside the block do signals ask for something."""
    signals, before = Signals(), signal.getsignal(signal.SIGINT)
    with signals.caught():
        assert signal.getsignal(signal.SIGINT) is not before
        os.kill(os.getpid(), signal.SIGHUP)
        assert signals.take_snapshot_request() and not signals.take_snapshot_request()
        assert signals.stop is None
    assert signal.getsignal(signal.SIGINT) is before


def test_worker_of_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    """There the agent speaks, and it is about to end: every signal asks for the end, and none ends at once."""
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    signals = Signals()
    with signals.caught():
        os.kill(os.getpid(), signal.SIGHUP)
        assert signals.stop == signal.SIGHUP and not signals.take_snapshot_request()
        for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM):
            os.kill(os.getpid(), number)
        assert signals.stop == signal.SIGHUP


def test_one_worker_of_several_refuses(solver_of: Build, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A run has one process; torchrun with more is told so, before anything is written."""
    monkeypatch.setenv("WORLD_SIZE", "1")
    solver_of()
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SpecError, match="2 processes were started for one run, and netspec trains in one"):
        solver_of()
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == ["run.solver"]


def test_a_snapshot_that_is_due_answers_a_hangup(solver_of: Build, tmp_path: Path) -> None:
    """A hangup in an iteration after which a snapshot is due gets that one, not another an iteration later."""
    solver = solver_of(snapshot=5, max_iter=8)
    send(solver, signal.SIGHUP, 4)
    solver.solve()
    assert {file.name for file in tmp_path.glob("*.solverstate")} == {
        "run_iter_5.solverstate",
        "run_iter_8.solverstate",
    }
