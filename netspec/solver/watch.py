"""What the tests decide: when the rate drops on a plateau, when a run stops early, which snapshot is the best."""

from __future__ import annotations

import math
from collections.abc import Sequence

from netspec.log import logger
from netspec.net import Net
from netspec.schema.netspec_pb2 import RunState, SolverParameter, WatchState
from netspec.spec import Document

Results = Sequence[dict[str, list[float]]]
"""For every test net the means of its outputs by name."""


class Watch:
    """Follows the test output that the solver names in `watch`, as torch's ReduceLROnPlateau does with an absolute
    threshold: a value is better if it betters the best so far by more than `watch_threshold`; NaN never is."""

    def __init__(self, document: Document[SolverParameter], solver: SolverParameter, nets: Sequence[Net]) -> None:
        """SpecError where no test net has the output."""
        self._solver = solver
        self._net, self._sign = _find(document, solver, nets) if solver.watch else (0, 1)
        self._state = WatchState(best=-self._sign * math.inf)
        self.is_best = False

    @property
    def drops(self) -> int:
        """How often a plateau has dropped the rate."""
        return int(self._state.drops)

    @property
    def has_enough(self) -> bool:
        """Whether so many tests in a row were no better that the run is to stop."""
        return 0 < self._solver.stop_patience < self._state.since_best

    def look(self, results: Results, iteration: int) -> None:
        """Take the results of a test; afterwards `is_best` says whether they are the best so far."""
        if not self._solver.watch:
            return
        value, state = results[self._net][self._solver.watch][0], self._state
        self.is_best = self._sign * value > self._sign * state.best + self._solver.watch_threshold
        if self.is_best:
            state.best, state.best_iter, state.since_best, state.since_drop = value, iteration, 0, 0
            return
        state.since_best += 1
        state.since_drop += 1
        best = f"{self._solver.watch} was best, {state.best:.6g}, at iteration {state.best_iter}"
        if self._solver.lr_policy == "plateau" and state.since_drop > self._solver.plateau_patience:
            state.since_drop = 0
            if self._solver.base_lr * self._solver.gamma**state.drops > self._solver.min_lr:
                state.drops += 1
                logger.info("Iteration %d, plateau: the rate drops; %s", iteration, best)
        if self.has_enough:
            logger.info("Iteration %d, %d tests no better: stopping early; %s", iteration, state.since_best, best)

    def store(self, run: RunState) -> None:
        """Put what was decided so far into a snapshot."""
        if self._solver.watch:
            run.watch.CopyFrom(self._state)

    def restore(self, run: RunState) -> None:
        """Take up what was decided before a snapshot."""
        if run.HasField("watch"):
            self._state.CopyFrom(run.watch)


def _find(document: Document[SolverParameter], solver: SolverParameter, nets: Sequence[Net]) -> tuple[int, int]:
    """Which test net has the watched output, and whether larger (1) or smaller (-1) values are better."""
    for index, net in enumerate(nets):
        if solver.watch in net.outputs:
            less = solver.watch in net.loss_weights
            less = less if solver.watch_mode == SolverParameter.AUTO else solver.watch_mode == SolverParameter.MIN
            return index, -1 if less else 1
    known = [name for net in nets for name in net.outputs]
    reason = "watch needs a test net and a test_interval"
    if nets:
        reason = f'no test net has an output "{solver.watch}"; there are {", ".join(dict.fromkeys(known))}'
    raise document.error(reason, "watch", wrong=solver.watch, known=known)
