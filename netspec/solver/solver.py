"""`Solver`: the loop of a training run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from netspec.errors import DataError, DivergedError, SnapshotError
from netspec.log import logger
from netspec.net import Net
from netspec.overrides import Overrides
from netspec.schema.netspec_pb2 import Precision, RunState, SolverParameter
from netspec.solver import snapshot as snapshots
from netspec.solver.average import Average
from netspec.solver.capture import CapturedPasses
from netspec.solver.capturing import Capturing
from netspec.solver.check import check_solver
from netspec.solver.control import LiveEdits, Signals, check_alone
from netspec.solver.device import choose_device
from netspec.solver.display import Display, batch_of
from netspec.solver.forms import Forms
from netspec.solver.freezing import Freezing
from netspec.solver.lock import only_run
from netspec.solver.loss_scale import LossScale
from netspec.solver.nets import build_test_nets, build_train_net
from netspec.solver.passes import Passes, is_finite
from netspec.solver.rates import learning_rate, stage
from netspec.solver.record import Record
from netspec.solver.rules import UPDATES
from netspec.solver.saving import Saving
from netspec.solver.speed import decide
from netspec.solver.start import check_train_net, introduce, load_weights, look_at_data, look_at_place
from netspec.solver.stored import Environment, NetText, Positions, Randomness, Stored
from netspec.solver.testing import Tests
from netspec.solver.updates import Update
from netspec.solver.watch import Watch
from netspec.solver.weight_copies import WeightCopies
from netspec.spec import Document
from netspec.upgrade import solver_document

_CHECK_INTERVAL = 100
"""Iterations from one look at the loss to the next on a GPU, without a display; each look waits for the device."""


class Solver:
    """A training run, from its solver file.

    `solver` is a path, a message or a `Document`. `device` overrides solver_mode. `settings` are ``KEY=VALUE`` texts
    that override fields of the solver (``max_iter=100``) or of layers (``data@TRAIN.data_param.batch_size=50``);
    keywords do the same for fields of the solver. `fresh` is false for a run that is to be resumed: it does not load
    the `weights` that the solver names. `define` gives the variables of the solver's and the nets' texts
    (``${NUM_LABELS}``) their values. Only with `allow_python` may the Python layers of the nets run. Raises SpecError,
    DataError, SnapshotError.
    """

    def __init__(
        self,
        solver: str | Path | SolverParameter | Document[SolverParameter],
        *,
        device: str | torch.device | None = None,
        settings: Iterable[str] = (),
        fresh: bool = True,
        define: Mapping[str, str] | None = None,
        allow_python: bool = False,
        **fields: Any,
    ) -> None:
        check_alone()
        self.document = solver_document(solver, define)
        overrides = Overrides([*settings, *(f"{name}={value}" for name, value in fields.items())], define)
        self.param = overrides.applied_to_solver(self.document.message)
        document = replace(self.document, message=self.param, settings=overrides.of_solver)
        check_solver(document)
        self.device = choose_device(self.param, device)
        self.speed = decide(document, self.device)
        self._capturing = Capturing(document, self.device, self.speed.capture)
        seed = self.param.random_seed if self.param.random_seed >= 0 else torch.seed() % 2**31
        torch.manual_seed(seed)
        self.prefix = snapshots.prefix_of(self.param.snapshot_prefix, self.document.path)
        self.iter = 0
        self._begun = self._saved = -1
        self.net: Net = build_train_net(self.document, self.param, overrides, self.device, seed, allow_python)
        self.speed.prepare(self.net)
        check_train_net(self.net)
        look_at_data(self.net)
        self._positions = Positions(self.net, lambda: self.test_nets, seed)
        self._tests = Tests(
            self.param,
            lambda: [self.speed.prepare(net) for net in self._new_test_nets(overrides)],
            self._averaged,
            self._capturing.test_net,
        )
        if fresh:
            load_weights(self.net, self.document, self.param.weights)
        self.update: Update = UPDATES[self.param.type](self.net.params)
        self.average = Average(self.net.params, self.param.ema_decay) if self.param.ema_decay else None
        self.signals = Signals()
        self._freezing = Freezing(document, self.param, self.net)
        self._watch = Watch(document, self.param, self.test_nets)
        self._edits = LiveEdits(self.document, self.param, lambda: self.iter, define)
        self._forms = Forms(self.speed, self.net, self.update.history, lambda: self.test_nets)
        loss_scale = LossScale(self.device) if self.speed.precision == Precision.FP16 else None
        self._passes = Passes(self.net, self.param.iter_size, loss_scale)
        self._captured_passes: CapturedPasses | None = None
        self._captured = self._capturing.iterations(self.net, self.update, self.average, self._passes)
        self._display = Display(self.param.average_loss, batch_of(self.net) * self.param.iter_size)
        environment = Environment(self.device)
        self._record = Record(document, lambda: [self.net, *self.test_nets], environment)
        # The random states come last, since what is restored before may draw.
        parts: list[Stored] = [NetText(self.net), self._edits, self._positions, self._watch, self._display]
        parts += [environment, self._forms, *([loss_scale] if loss_scale else []), Randomness(self.device)]
        self._saving = Saving(self.param, self.net, self.update, self.average, parts)

    def _new_test_nets(self, overrides: Overrides) -> list[Net]:
        return build_test_nets(self.document, self.param, overrides, self.net, self.seed)

    # --- the loop -----------------------------------------------------------------------------------------------

    def solve(self) -> bool:
        """Run to max_iter as Caffe does, or until a signal; whether the run is finished. Either way it is saved.
        DivergedError, with nothing saved, where the loss is no number any more."""
        look_at_place(self.prefix, fresh=self._begun < 0)
        self._saving.check_sizes(self.prefix)
        self.signals.stop = None
        try:
            with only_run(self.prefix), self.signals.caught():
                introduce(self.net, self.param, self.seed)
                self.tune(self.param.max_iter - self.iter)
                self._record.open(self.prefix, self.iter, self.seed, resumed=self._begun >= 0)
                self._display.start(self.iter, self.param.max_iter)
                while self._goes_on():
                    self._iterate()
                ends_new = self.param.snapshot_after_train and self.iter != self._begun
                is_unsaved = self._saved != self.iter and bool(ends_new or self.signals.stop)
                ending = self._saving.parts()  # before what is shown takes a batch, and the last test is judged
                if is_unsaved:
                    self._snapshot_or_log()
                if not self.signals.stop and not self._watch.has_enough:
                    self._finish(ending)
                if is_unsaved and self._saved != self.iter:
                    self._snapshot(ending)  # once more, now that it is the last chance: an error ends the run
        except DataError:
            # The weights are still good, and so is the place in the data: nothing that was learnt is lost.
            if self.iter not in (0, self._begun):
                self._snapshot_or_log()
            raise
        finally:
            self._copy_weights(None)  # from now on anybody may change them
            self.close()
        logger.info("Optimization stopped early." if self.signals.stop else "Optimization Done.")
        return not self.signals.stop

    def _finish(self, before: RunState) -> None:
        """What Caffe shows after the last iteration: the loss and the test of the final weights, where due."""
        if self._is_due(self.param.display):
            epoch = self.epoch
            with torch.no_grad():
                self._display.add(self.net.loss(self.net()))
            logger.info("Iteration %d, loss = %.6g", self.iter, self.loss)
            self._record.add(self.iter, epoch, {"loss": self.loss})
        if self._is_due(self.param.test_interval):
            self._test_and_judge(before)

    def tune(self, iterations: int) -> None:
        """Let the nets compute as is fastest over so many iterations, and log how; `solve` does it for the whole run,
        `step` does not: between its calls anything may be done with the net."""
        self.speed.switch_process()
        measured = self._forms.take(iterations)
        self._copy_weights(self.speed.copies(self.net))
        if not self._captured_passes:
            self._captured_passes = self._capturing.passes(self.net, self._passes, iterations)
        is_captured = self._captured or self._captured_passes
        self.speed.log([*measured, *(["iterations are captured, then replayed"] if is_captured else [])])

    def _copy_weights(self, copies: WeightCopies | None) -> None:
        """Let passes read what the update copies from the weights, or these. What was captured before, in other forms
        perhaps, is captured anew."""
        self._passes.copies = self.update.copies = copies
        self._capturing.forget()

    def plan(self) -> list[str]:
        """The forms of the layers, measured, and which of them the run to max_iter takes, as lines of a table."""
        return list(self._forms.plan(self.param.max_iter - self.iter))

    def step(self, iterations: int) -> None:
        """Run some iterations, whatever max_iter says. Signals are caught in `solve` only."""
        last = self.iter + iterations
        self.speed.switch_process()
        self._display.start(self.iter, last)
        while self._goes_on(last):
            self._iterate()
        self._display.close()

    def _goes_on(self, last: int | None = None) -> bool:
        """Take what came from outside since the last iteration; whether there is another, up to max_iter or `last`."""
        self._edits.take()
        self._tests.turn_on()
        ended = self.signals.stop or self._watch.has_enough
        return self.iter < (self.param.max_iter if last is None else last) and not ended

    @property
    def test_nets(self) -> list[Net]:
        """The test nets in Caffe's order; none without a test_interval."""
        return self._tests.nets

    @property
    def seed(self) -> int:
        """The seed in force: that of the solver, that of the snapshot, or one that was drawn."""
        return self._positions.seed

    @property
    def loss(self) -> float:
        """The mean loss of the last `average_loss` iterations, as a display line shows it; nan before the first."""
        return self._display.smoothed_loss()

    @property
    def epoch(self) -> float | None:
        """How many times the train net has seen its data, that of its first data layer; None without one."""
        source = next((source for _, source in self.net.sources), None)
        return source.position / source.epoch_size if source and source.epoch_size else None

    @property
    def rate(self) -> float:
        """The rate of the next iteration, before any lr_mult."""
        return learning_rate(self.param, self.iter, self._watch.drops)

    def rehearse(self) -> float:
        """Run the next iteration forward and backward, without its update; its loss."""
        self._freezing.take(self.iter, self.update)
        loss = self._passes.run()[1]
        self._display.add(loss)
        return float(loss)

    def _iterate(self) -> None:
        """One iteration in Caffe's order: test if due, forward and backward, update, snapshot if due."""
        is_tested = self._is_due(self.param.test_interval) and (self.iter > 0 or self.param.test_initialization)
        # The run that resumes from a best snapshot begins with the test that found it.
        if is_tested and not self._test_and_judge(self._saving.parts()):
            return
        self._freezing.take(self.iter, self.update)
        if self.param.debug_info:
            self.net.debug_info = self._is_due(self.param.display)
        epoch, rate = self.epoch, self.rate
        out, loss = self._forward_backward()
        if self._is_due(self.param.display):
            figures = self._display.iteration(self.iter, rate, out, self.net.loss_weights)
            self._record.add(self.iter, epoch, figures)
        if self.device.type == "cpu" or self._is_due(self.param.display or _CHECK_INTERVAL):
            self._check_finite(loss)
        if not self._captured:
            self._update(rate)
        self.iter += 1
        if self.signals.take_snapshot_request() or self._is_due(self.param.snapshot):
            self._snapshot_or_log()

    def _forward_backward(self) -> tuple[dict[str, Tensor], Tensor]:
        """The passes of an iteration; where it is captured as a whole, the update is done with them."""
        if self._captured:
            out, loss = self._captured.run(self.rate, self.iter)
        else:
            out, loss = (self._captured_passes or self._passes).run()
        self._display.add(loss)
        return out, loss

    def _update(self, rate: float) -> None:
        if self._passes.is_usable:
            self.update.apply(self.param, rate, self.iter)
        if self.average:
            self.average.update()

    def _check_finite(self, loss: Tensor) -> None:
        """DivergedError where the loss of this iteration is no number."""
        if not is_finite(loss):
            first = self._passes.first_not_finite()
            reason = f"the loss is {loss.item():g}; the first that is not finite is {first}"
            raise DivergedError(f"Iteration {self.iter}: {reason}; {self._saving.kept}")

    def test(self) -> list[dict[str, list[float]]]:
        """Run every test net and log the means of its outputs; a test net without test_iter sees every record once.
        Nothing where a signal ended it early; the run that resumes starts this test again."""
        results = self._tests.run(self.iter, lambda: self.signals.stop)
        if results:
            self._record.add(self.iter, self.epoch, Tests.columns(results))
        return results

    def _test_and_judge(self, before: RunState) -> bool:
        """A test of the run: what it decides is done, a best snapshot with the parts of `before`. Whether the iteration
        goes on: a signal after the test has ended does not keep it from that, or the run that resumes would judge this
        test a second time."""
        results = self.test()
        if len(results) < len(self.test_nets):
            return False
        self._watch.look(results, self.iter)
        if self._watch.is_best and self.param.snapshot_best:
            self._snapshot_or_log(best=before)
        return not self._watch.has_enough

    def _averaged(self) -> AbstractContextManager[None]:
        """A context in which the weights are those that tests see."""
        return self.average.in_place() if self.average and self.param.test_ema else nullcontext()

    def _is_due(self, interval: int) -> bool:
        return interval > 0 and self.iter % interval == 0

    def close(self) -> None:
        """End the background work of the nets."""
        self._display.close()
        self._record.close()
        self.net.close()
        self._tests.close()

    # --- snapshots ----------------------------------------------------------------------------------------------

    @property
    def last_snapshot(self) -> Path | None:
        """The state of the last snapshot that was written or restored."""
        return self._saving.last

    def snapshot(self) -> Path:
        """Write a snapshot of this iteration and return its state; SnapshotError where that fails, DivergedError where
        the weights are no numbers any more."""
        return self._snapshot(self._saving.parts())

    def _snapshot(self, run: RunState) -> Path:
        self._saving.last = self._save(self.prefix, self.param.snapshot_keep, run)
        self._saved = self.iter
        return self._saving.last

    def _save(self, prefix: str, keep: int, run: RunState) -> Path:
        drops = self._watch.drops if self.param.lr_policy == "plateau" else stage(self.param, self.iter - 1)
        return self._saving.write(prefix, self.iter, drops, keep, run)

    def _snapshot_or_log(self, best: RunState | None = None) -> None:
        """A snapshot that fails does not end the run: the one before is whole, and the next is tried when it is due.
        `best` are the parts of the run for one of the best weights."""
        try:
            if best:
                self._save(f"{self.prefix}_best", 1, best)
            else:
                self.snapshot()
        except SnapshotError as error:
            logger.error("%s; the run goes on, and a snapshot is tried again when it is due", error)

    def resume(self, path: str | Path | None = None) -> Path:
        """Restore a snapshot, or without a path the newest one of this run's prefix that is whole; return it."""
        if path is None:
            return snapshots.newest_valid(self.prefix, self.restore)
        self.restore(path)
        return Path(path)

    def restore(self, path: str | Path) -> None:
        """Go on from a snapshot (any of its files), ours to the bit, Caffe's with weights, history and iteration.
        SnapshotError where it is missing, damaged, or of another net; the solver is then as it was."""
        state = self._saving.read(Path(path))
        self._copy_weights(None)
        self.iter = self._begun = state.iter
        logger.info("Resuming from %s at iteration %d", self.last_snapshot, self.iter)
        if state.HasField("run"):
            self._saving.take_up(state.run)
