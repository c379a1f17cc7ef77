"""The snapshots of a run: what it has come to goes into them, and it goes on from one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from netspec.errors import DivergedError, SnapshotError
from netspec.log import logger
from netspec.net import Net
from netspec.schema.netspec_pb2 import RunState, SolverParameter, SolverState
from netspec.solver import snapshot as snapshots
from netspec.solver.average import Average
from netspec.solver.finite import not_finite_blob
from netspec.solver.rules import UPDATES
from netspec.solver.state_file import read_state, write_state
from netspec.solver.stored import Stored
from netspec.solver.updates import Update
from netspec.upgrade import parse_solver


class Saving:
    """Writes and reads the weights, their average and history, and every part of the run that is to be `stored`, in
    this order. `last` is the state of the last snapshot."""

    def __init__(
        self, solver: SolverParameter, net: Net, update: Update, average: Average | None, stored: Sequence[Stored]
    ) -> None:
        self._solver, self._net, self._update, self._average, self._stored = solver, net, update, average, stored
        self.last: Path | None = None

    def check_sizes(self, prefix: str) -> None:
        """SnapshotError where a file of the prefix would be larger than its format allows."""
        files = snapshots.files_of(prefix, 0, self._solver.snapshot_format)
        blobs = [param.tensor for param in self._net.params]
        snapshots.check_sizes(files, blobs * (2 if self._solver.snapshot_diff else 1), self._update.history)

    def parts(self) -> RunState:
        """What there is now of the parts that are stored."""
        run = RunState()
        for part in self._stored:
            part.store(run)
        return run

    def write(self, prefix: str, iteration: int, step: int, keep: int, run: RunState) -> Path:
        """Write a snapshot with these parts, and return its state; then only `keep` of the prefix are kept. `step` is
        how many drops the rate has had. SnapshotError where that fails, DivergedError where the weights are no numbers
        any more."""
        if where := not_finite_blob(self._net.params, self._update.history):
            raise DivergedError(f"Iteration {iteration}: no snapshot is made, since {where} is not finite; {self.kept}")
        files = snapshots.files_of(prefix, iteration, self._solver.snapshot_format)
        logger.info("Snapshotting to %s", files.weights)
        run.weights_sha256 = self._net.save(files.weights, self._solver.snapshot_diff)
        if self._average:
            with self._average.in_place():
                run.ema_sha256 = self._net.save(files.average)
        logger.info("Snapshotting solver state to %s", files.state)
        state = SolverState(iter=iteration, learned_net=str(files.weights), current_step=step, run=run)
        write_state(files.state, state, self._update.history)
        snapshots.prune(prefix, files.state, keep)
        return files.state

    @property
    def kept(self) -> str:
        """Which snapshot there is, in words."""
        return f"the last snapshot is {self.last}" if self.last else "there is no snapshot yet"

    def read(self, path: Path) -> SolverState:
        """Take up weights, average and history of a snapshot, given any of its files, and return its state.
        SnapshotError where it is missing, damaged, or of another net; then nothing has changed."""
        path = snapshots.state_of(path)
        state = read_state(path)
        weights = snapshots.weights_of(path, state)
        self._check_type(path, state.run)
        snapshots.check_history(path, state, self._update.history)
        if self._average and state.run.ema_sha256:
            self._net.load(snapshots.average_of(weights), whole=True)
            self._average.take()
        self._net.load(weights, whole=True)
        if self._average and not state.run.ema_sha256:
            logger.warning("%s has no averaged weights: the average begins anew with the weights", path)
            self._average.take()
        snapshots.copy_history(state, self._update.history)
        self.last = path
        return state

    def _check_type(self, path: Path, run: RunState) -> None:
        """SnapshotError where the history is that of another rule, as an AdaGrad's sum of squares is no momentum."""
        own, stored = self._solver.type, parse_solver(run.solver).type if run.solver else self._solver.type
        if stored in UPDATES and _rule_of_history(UPDATES[stored]) != _rule_of_history(type(self._update)):
            reason = f'a snapshot of solver type "{stored}", whose history is of no use to "{own}"'
            raise SnapshotError(f"{path}: {reason}; --weights starts anew from its weights")

    def take_up(self, run: RunState) -> None:
        """Take up the parts of a snapshot."""
        for part in self._stored:
            part.restore(run)


def _rule_of_history(rule: type[Update]) -> type[Update]:
    """The rule whose history a rule keeps: SGD's for Nesterov and LARS, Adam's for AdamW and RAdam."""
    return rule.__mro__[rule.__mro__.index(Update) - 1]
