"""What reaches a run from outside while it is on: signals, and edits of the solver file."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from netspec.errors import SpecError
from netspec.log import logger
from netspec.schema.netspec_pb2 import Move, RunState, SolverParameter
from netspec.solver.check import check_solver
from netspec.solver.rates import FOLLOWS_MAX_ITER
from netspec.spec import Document, to_text
from netspec.upgrade import parse_solver, solver_document

EDITABLE = ("base_lr", "max_iter", "display", "snapshot", "test_interval")
"""The fields of a solver file that may be edited during a run."""

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


_TORCHRUN = "TORCHELASTIC_RUN_ID"
"""The environment variable that torchrun gives its workers."""


def check_alone() -> None:
    """SpecError in a worker of several, as torchrun starts them: a run has one process."""
    if (count := os.environ.get("WORLD_SIZE", "1")) != "1":
        reason = f"{count} processes were started for one run, and netspec trains in one: give --nproc-per-node 1"
        raise SpecError(reason, "WORLD_SIZE", count)


class Signals:
    """What the signals so far ask for. Each is acted on once the iteration under way is finished; SIGINT, SIGTERM and
    SIGUSR1 ask for a snapshot and the end, SIGHUP for a snapshot; a SIGINT after one of those ends the process at once.

    Under torchrun a signal to the agent ends it: it passes the signal on, perhaps more than once, and kills a worker
    that has not ended after 30 seconds. So there SIGHUP asks for the end too, and a second SIGINT means nothing. The
    agent must be started with ``--signals-to-handle=SIGINT,SIGTERM,SIGUSR1,SIGHUP``: a signal that it does not handle
    kills it alone, and the worker goes on without it.
    """

    def __init__(self) -> None:
        self.stop: signal.Signals | None = None
        self._snapshot = False

    def take_snapshot_request(self) -> bool:
        """Whether a snapshot was asked for since the last call."""
        asked, self._snapshot = self._snapshot, False
        return asked

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Catch the signals inside the block; elsewhere than in the main thread Python cannot, and nothing is done."""
        previous: dict[signal.Signals, Any] = {}
        try:
            for number in (*_STOPPING, signal.SIGHUP):
                previous[number] = signal.signal(number, self._on_signal)
        except ValueError:
            logger.warning("not in the main thread: signals are not caught")
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        is_worker = _TORCHRUN in os.environ
        if number == signal.SIGHUP and not is_worker:
            self._snapshot = True
        elif self.stop is None:
            self.stop = signal.Signals(number)
        elif number == signal.SIGINT and not is_worker:
            raise KeyboardInterrupt


class LiveEdits:
    """The solver file as a control: an edit of an editable field during the run moves the run's own value.

    `param` is the run's solver, which is changed; `iteration` says where the run is; `define` holds the values of the
    file's variables; `moves` is every change made by hand, for the snapshots.
    """

    def __init__(
        self,
        document: Document[SolverParameter],
        param: SolverParameter,
        iteration: Callable[[], int],
        define: Mapping[str, str] | None = None,
    ) -> None:
        self.param, self._iteration = param, iteration
        self._define = define
        self.moves: list[Move] = []
        self.started_as = SolverParameter()
        self.started_as.CopyFrom(param)
        self._path = Path(document.path)
        self._last = document.message
        self._stamp = self._read_stamp()

    def _read_stamp(self) -> tuple[int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return (status.st_mtime_ns, status.st_size)

    def take(self) -> None:
        """Put into effect what was edited since the last call. A text that is wrong is reported and changes nothing;
        a field that a run cannot change is named and left."""
        stamp = self._read_stamp()
        if stamp is None or stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            document = solver_document(self._path, self._define)
            check_solver(document)
        except SpecError as error:
            logger.error("the solver file was edited, and is ignored until it is right:\n%s", error)
            return
        before, self._last = self._last, document.message
        for name in changed_fields(before, document.message):
            if name in EDITABLE:
                self._move(name, getattr(document.message, name))
            else:
                logger.warning("%s: %s cannot change during a run; the edit is ignored", self._path, name)

    def _move(self, name: str, value: float) -> None:
        iteration = self._iteration()
        logger.info("Iteration %d, %s = %g by hand (was %g)", iteration, name, value, getattr(self.param, name))
        setattr(self.param, name, value)
        self._warn_of_other_rates(name)
        self.moves.append(Move(iter=iteration, field=name, value=repr(value)))

    def store(self, run: RunState) -> None:
        """Put the solver as it was at the start into a snapshot, and every move since."""
        run.solver = to_text(self.started_as)
        run.move.extend(self.moves)

    def restore(self, run: RunState) -> None:
        """Take up the moves of a snapshot. They stay in force where the file has the value that the run was started
        with, or the moved one; another value there is an edit made since, and wins."""
        started_as = parse_solver(run.solver)
        self.moves[:] = run.move
        last = {move.field: move.value for move in run.move}
        for name in changed_fields(started_as, self.param):
            if name not in last and name != "weights":  # those are for a fresh start
                now, before = _shown(self.param, name), _shown(started_as, name)
                logger.info("%s is %s; in the snapshot it was %s", name, now, before)
                self._warn_of_other_rates(name)
        for name, text in last.items():
            original, now = getattr(started_as, name), getattr(self.param, name)
            moved = type(original)(float(text))
            setattr(self.param, name, moved)
            if now in (original, moved):
                logger.info(
                    "Iteration %d, %s = %g, as moved by hand before the snapshot", self._iteration(), name, moved
                )
            else:
                self._move(name, now)
            setattr(self.started_as, name, original)

    def _warn_of_other_rates(self, name: str) -> None:
        if name == "max_iter" and self.param.lr_policy in FOLLOWS_MAX_ITER:
            logger.warning('with lr_policy "%s" another max_iter changes the rate of every iteration from here on',
                           self.param.lr_policy)  # fmt: skip


def _shown(solver: SolverParameter, name: str) -> str:
    """The value of a field, on one line."""
    value, kind = getattr(solver, name), SolverParameter.DESCRIPTOR.fields_by_name[name].enum_type
    if kind:
        return str(kind.values_by_number[value].name)
    return f"{value:g}" if isinstance(value, float) else " ".join(str(value).split())


def changed_fields(before: SolverParameter, after: SolverParameter) -> list[str]:
    """The names of the fields in which two solvers differ."""
    names = SolverParameter.DESCRIPTOR.fields_by_name
    return [name for name in names if getattr(before, name) != getattr(after, name)]
