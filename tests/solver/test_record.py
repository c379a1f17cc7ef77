"""What a run leaves beside its snapshots."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from netspec import Solver, SpecError
from netspec.solver import events
from netspec.solver.run_log import Row, read_log

Build = Callable[..., Solver]
Write = Callable[..., Path]


def figures(path: Path) -> list[Row]:
    """The rows of a log, without the seconds, which no two runs share."""
    return [{name: cell for name, cell in row.items() if name != "seconds"} for row in read_log(path)]


def test_the_log_of_a_run(solver_of: Build, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Every display and every test is a row, or both of one iteration, with the figures of the lines."""
    solver = solver_of(max_iter=8, display=2, test_interval=4, test_iter=[1, 2], base_lr=0.05, average_loss=1)
    solver.solve()
    rows = read_log(tmp_path / "log.csv")
    assert [row["iteration"] for row in rows] == ["0", "2", "4", "6", "8"]
    tests = {"test accuracy", "test loss", "test 1 accuracy", "test 1 loss"}
    shown = {"iteration", "epoch", "seconds", "lr", "loss", "train loss"}
    assert [set(row) for row in rows] == [
        shown | tests, shown, shown | tests, shown, shown - {"lr", "train loss"} | tests,
    ]  # fmt: skip
    assert [float(row["epoch"]) for row in rows] == pytest.approx([i * 32 / 1500 for i in (0, 2, 4, 6, 8)], rel=1e-6)
    assert [float(row["seconds"]) for row in rows] == sorted(float(row["seconds"]) for row in rows)
    assert {row["lr"] for row in rows[:-1]} == {"0.05"}
    lines = [record.message for record in caplog.records]
    for row in rows[:-1]:
        assert any(
            line.startswith(f"Iteration {row['iteration']} (") and line.endswith(f"loss = {float(row['loss']):.6g}")
            for line in lines
        )


@pytest.mark.parametrize("cut", [7, 14])
def test_a_resumed_run_has_the_log_of_a_straight_one(write_solver: Write, tmp_path: Path, cut: int) -> None:
    """Cut off after a snapshot and resumed, with rows after it on the disk, a run ends with the log of a straight one;
    its seconds go on."""
    fields = {"max_iter": 20, "display": 3, "test_interval": 5, "snapshot": 7}
    straight = Solver(write_solver(**fields, snapshot_prefix=str(tmp_path / "straight" / "run")))
    straight.solve()
    path = write_solver(**fields, snapshot_prefix=str(tmp_path / "cut" / "run"))
    first = Solver(path)
    first.solve()
    before = read_log(tmp_path / "cut" / "log.csv")
    resumed = Solver(path, fresh=False)
    resumed.resume(tmp_path / "cut" / f"run_iter_{cut}.solverstate")
    resumed.solve()
    after = read_log(tmp_path / "cut" / "log.csv")
    assert figures(tmp_path / "cut" / "log.csv") == figures(tmp_path / "straight" / "log.csv")
    kept = [row for row in before if int(row["iteration"]) < cut]
    assert after[: len(kept)] == kept
    assert [float(row["seconds"]) for row in after] == sorted(float(row["seconds"]) for row in after)
    assert not (tmp_path / "cut" / "log.1.csv").exists()


def test_a_new_run_keeps_the_log_of_the_one_before(write_solver: Write, tmp_path: Path) -> None:
    """A run that begins anew does not destroy what an earlier one of its prefix has logged; the environment says so."""
    path = write_solver(max_iter=2, display=1)
    for _ in range(2):
        Solver(path).solve()
    assert figures(tmp_path / "log.1.csv") == figures(tmp_path / "log.csv") != []
    assert (tmp_path / "solver.1.prototxt").exists() and (tmp_path / "net.1.prototxt").exists()
    assert "the log of the run before is log.1.csv\n" in (tmp_path / "environment.txt").read_text()


def test_the_environment(solver_of: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """How the run was started, with what, and on what it computes; every start is added."""
    monkeypatch.setattr(sys, "orig_argv", ["python", "tools/solve.py", "a b.solver"])
    solver = solver_of(max_iter=2)
    solver.solve()
    solver.param.max_iter = 3
    solver.solve()
    lines = (tmp_path / "environment.txt").read_text().splitlines()
    assert lines[0] == "prefix run"
    assert [line[-14:] for line in lines if line.startswith("started")] == ["at iteration 0", "at iteration 2"]
    assert lines.count("command python tools/solve.py 'a b.solver'") == 2
    assert {line.split()[0] for line in lines if line} >= {"folder", "netspec", "torch", "device", "threads"}


def test_only_a_run_to_its_end_is_recorded(solver_of: Build, tmp_path: Path) -> None:
    """Single iterations and tests, as a program drives them, write nothing."""
    solver = solver_of(display=1)
    solver.step(2)
    solver.test()
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == ["run.solver"]


@pytest.mark.parametrize("room", [0, 20, 600, 4000])
def test_a_full_disk_does_not_end_the_run(
    solver_of: Build,
    tmp_path: Path,
    file_limit: Callable[[int], AbstractContextManager[None]],
    caplog: pytest.LogCaptureFixture,
    room: int,
) -> None:
    """Whatever of the record cannot be written, the run goes on, says so once, and the log is there once it can be."""
    solver = solver_of(max_iter=4, display=1, test_interval=0, snapshot=0, snapshot_after_train=False)
    add, limits = solver._record.add, [file_limit(room)]

    def add_and_make_room(iteration: int, *args: object) -> None:
        if iteration == 2:
            limits.pop().__exit__(None, None, None)
        add(iteration, *args)  # type: ignore[arg-type]

    solver._record.add = add_and_make_room  # type: ignore[method-assign]
    limits[0].__enter__()
    solver.solve()
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == (room < 4000)
    assert [row["iteration"] for row in read_log(tmp_path / "log.csv")] == ["0", "1", "2", "3", "4"]
    assert (tmp_path / "environment.txt").read_text().startswith("prefix run\n\nstarted ")


def test_events(solver_of: Build, tmp_path: Path) -> None:
    """TensorBoard reads the figures of the log under the names of its own; a resume replaces what came after it."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    fields = {"max_iter": 8, "display": 2, "test_interval": 4, "snapshot": 3, "tensorboard": True}
    solver_of(**fields).solve()
    resumed = solver_of(**fields)
    resumed.restore(tmp_path / "run_iter_3.solverstate")
    resumed.solve()
    found = EventAccumulator(str(tmp_path)).Reload()
    rows = read_log(tmp_path / "log.csv")
    for tag, column in (
        ("loss", "loss"),
        ("lr", "lr"),
        ("train/loss", "train loss"),
        ("test/accuracy", "test accuracy"),
    ):
        logged = {int(row["iteration"]): float(row[column]) for row in rows if column in row}
        assert {event.step: event.value for event in found.Scalars(tag)} == pytest.approx(logged, rel=1e-5)
        assert [event.step for event in found.Scalars(tag)] == sorted(logged)


def test_events_of_a_second_run_are_its_own(write_solver: Write, tmp_path: Path) -> None:
    """Runs that share a folder do not mix their events."""
    pytest.importorskip("tensorboard")
    for name in ("a", "b"):
        Solver(write_solver(name, max_iter=1, display=1, tensorboard=True)).solve()
    assert len(list(tmp_path.glob("events.*"))) == len(list((tmp_path / "b").glob("events.*"))) == 1


def test_events_on_a_full_disk(
    tmp_path: Path, file_limit: Callable[[int], AbstractContextManager[None]], caplog: pytest.LogCaptureFixture
) -> None:
    """Events that cannot be written wait, which is said once; nothing is written in halves."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    writer = events.Events(tmp_path, 0)
    with file_limit(100):
        for iteration in range(5):
            writer.add(iteration, {"loss": 0.5})
    writer.add(5, {"loss": 0.5})
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert [event.step for event in EventAccumulator(str(tmp_path)).Reload().Scalars("loss")] == list(range(6))


def test_without_tensorboard(write_solver: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is not installed the field says so, before anything is built; without the field nothing is said."""
    monkeypatch.setattr(events, "find_spec", lambda name: None)
    Solver(write_solver()).close()
    path = write_solver(tensorboard=True)
    line = 1 + path.read_text().splitlines().index("tensorboard: true")
    with pytest.raises(SpecError, match=r"pip install 'netspec\[tensorboard\]'") as error:
        Solver(path)
    assert error.value.line == line
