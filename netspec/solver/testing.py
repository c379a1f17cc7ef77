"""The test nets of a run: opened, run, shown."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

from netspec.errors import NetspecError
from netspec.evaluate import Run, evaluate
from netspec.log import logger
from netspec.net import Net
from netspec.schema.netspec_pb2 import SolverParameter
from netspec.solver.display import columns, log_outputs
from netspec.solver.start import look_at_data


class Tests:
    """The test nets of a solver. `build` makes them from what the solver says now; `averaged` is a context in which
    the weights are those to be tested; `prepare` gives what is called in place of a net."""

    def __init__(
        self,
        solver: SolverParameter,
        build: Callable[[], list[Net]],
        averaged: Callable[[], AbstractContextManager[None]] = nullcontext,
        prepare: Callable[[Net], Run] = lambda net: net,
    ) -> None:
        self._solver, self._build, self._averaged, self._prepare = solver, build, averaged, prepare
        self._runs: list[Run] = []
        self.nets: list[Net] = self._opened()

    def _opened(self) -> list[Net]:
        """The nets, their data looked at; none without a test_interval."""
        nets = self._build()
        for net in nets:
            look_at_data(net)
        self._runs = [self._prepare(net) for net in nets]
        return nets

    def turn_on(self) -> None:
        """Open the test nets of a run that began without, where it now has a test_interval; what is wrong with them
        costs the tests, not the run."""
        if self.nets or not self._solver.test_interval:
            return
        try:
            self.nets = self._opened()
        except NetspecError as error:
            logger.error("there are no tests:\n%s", error)
            self._solver.test_interval = 0

    def run(self, iteration: int, stop: Callable[[], object]) -> list[dict[str, list[float]]]:
        """Run every test net and log the means of its outputs; a test net without test_iter sees every record once.
        Once `stop` says so it ends, with nothing: the run that resumes starts this test again."""
        results = []
        positions = [(source, source.position) for net in self.nets for _, source in net.sources]
        for index, net in enumerate(self.nets):
            logger.info("Iteration %d, Testing net (#%d)", iteration, index)
            iterations = self._solver.test_iter[index] if index < len(self._solver.test_iter) else None
            with self._averaged():
                means = evaluate(net, iterations, stop, self._runs[index])
            if stop():
                for source, position in positions:
                    source.position = position
                return []
            if wrong := [name for name, values in means.items() if not all(map(math.isfinite, values))]:
                logger.warning("Iteration %d, test net #%d: not finite: %s", iteration, index, ", ".join(wrong))
            if self._solver.test_compute_loss:
                loss = sum(weight * sum(means[name]) for name, weight in net.loss_weights.items())
                logger.info("Test loss: %.6g", loss)
            log_outputs("Test", means, net.loss_weights)
            results.append(means)
        return results

    @staticmethod
    def columns(results: Sequence[dict[str, list[float]]]) -> dict[str, float]:
        """The results of a test by the heads of their columns in a log; those of the second net are "test 1 ..."."""
        kinds = ("test" if index == 0 else f"test {index}" for index in range(len(results)))
        return {
            name: value
            for kind, means in zip(kinds, results, strict=True)
            for name, value in columns(kind, means).items()
        }

    def close(self) -> None:
        """End the background work of the nets."""
        for net in self.nets:
            net.close()
