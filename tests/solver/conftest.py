"""A short training run on the committed digits, as the tests of the solver drive it."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from google.protobuf.message import Message

from netspec import Solver, read_solver, to_text

HERE = Path(__file__).parent
Write = Callable[..., Path]


def set_fields(message: Message, **fields: Any) -> None:
    """Set fields by name: a list replaces a repeated field, None clears one."""
    for name, value in fields.items():
        message.ClearField(name)
        if isinstance(value, list):
            getattr(message, name).extend(value)
        elif value is not None:
            setattr(message, name, value)


@pytest.fixture(autouse=True)
def one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Compute on one thread, and keep the caches of decoded sets out of the user's folder."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setenv("NETSPEC_CACHE", str(tmp_path / "cache"))
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def info_lines(caplog: pytest.LogCaptureFixture) -> None:
    """Let `caplog` have every line of the log."""
    caplog.set_level("INFO", "netspec")


@pytest.fixture
def write_solver(tmp_path: Path) -> Write:
    """Write digits.solver with some fields changed into the test's folder, where its snapshots go too."""

    def write(name: str = "run", **fields: Any) -> Path:
        solver = read_solver(HERE / "digits.solver")
        path = tmp_path / f"{name}.solver"
        own = {"net": str(HERE / "digits.prototxt"), "snapshot_prefix": str(path.with_suffix("")), "display": 0}
        set_fields(solver, **{**own, **fields})
        path.write_text(to_text(solver))
        return path

    return write


@pytest.fixture
def edit() -> Callable[..., None]:
    """Change fields in a solver file, as a user's editor does during a run."""

    def edit_file(path: Path, **fields: Any) -> None:
        solver = read_solver(path)
        set_fields(solver, **fields)
        stamp = path.stat().st_mtime_ns + 1_000_000_000
        path.write_text(to_text(solver))
        os.utime(path, ns=(stamp, stamp))  # later than before, however coarse the file system's clock is

    return edit_file


@pytest.fixture
def solver_of(write_solver: Write) -> Iterator[Callable[..., Solver]]:
    """Build the solver of `write_solver`'s file; its threads end with the test."""
    built = []

    def build(settings: Sequence[str] = (), **fields: Any) -> Solver:
        built.append(Solver(write_solver(**fields), settings=settings))
        return built[-1]

    yield build
    for solver in built:
        solver.close()


@pytest.fixture
def trained(solver_of: Callable[..., Solver]) -> tuple[Solver, Path]:
    """A solver after 3 iterations, and its snapshot there."""
    solver = solver_of()
    solver.step(3)
    return solver, solver.snapshot()


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[..., AbstractContextManager[None]]:
    """Let the n-th call of some functions of `os` raise, counted over all of them."""

    @contextmanager
    def fail(names: tuple[str, ...], which: range, error: OSError) -> Iterator[None]:
        calls = iter(range(1_000_000))
        with monkeypatch.context() as patch:
            for name in names:
                patch.setattr(os, name, _failing(getattr(os, name), calls, which, error))
            yield

    return fail


def _failing(real: Callable[..., Any], calls: Iterator[int], which: range, error: OSError) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        if next(calls) in which:
            raise error
        return real(*args, **kwargs)

    return call
