"""`Solver`: the loop of a training run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from netspec.errors import DataError, NetspecError, SnapshotError
from netspec.evaluate import evaluate
from netspec.log import logger
from netspec.net import Net
from netspec.overrides import Overrides
from netspec.schema.netspec_pb2 import DataPosition, RunState, SolverParameter, SolverState
from netspec.solver import snapshot as snapshots
from netspec.solver.check import check_solver
from netspec.solver.control import LiveEdits, Signals
from netspec.solver.device import choose_device
from netspec.solver.display import Display, log_outputs
from netspec.solver.nets import build_test_nets, build_train_net
from netspec.solver.rates import learning_rate, stage
from netspec.solver.start import check_train_net, load_weights, look_at_place, warn_of_fields_without_effect
from netspec.solver.updates import UPDATES, Update
from netspec.spec import Document, to_text
from netspec.upgrade import parse_solver, solver_document


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
        self.document = solver_document(solver, define)
        overrides = Overrides([*settings, *(f"{name}={value}" for name, value in fields.items())], define)
        self.param = overrides.applied_to_solver(self.document.message)
        check_solver(replace(self.document, message=self.param))
        warn_of_fields_without_effect(self.document, self.param)
        self.device = choose_device(self.param, device)
        self.seed = self.param.random_seed if self.param.random_seed >= 0 else torch.seed() % 2**31
        torch.manual_seed(self.seed)
        self.iter = 0
        self._begun = self._saved = -1
        self.last_snapshot: Path | None = None
        self._overrides = overrides
        self.net: Net = build_train_net(self.document, self.param, overrides, self.device, self.seed, allow_python)
        check_train_net(self.net)
        self.net.check_labels()
        self.test_nets: list[Net] = self._open_test_nets()
        if fresh:
            load_weights(self.net, self.document, self.param.weights)
        self.update: Update = UPDATES[self.param.type](self.net.params)
        self.signals = Signals()
        self._edits = LiveEdits(self.document, self.param, define)
        self._display = Display(self.param.average_loss, self._images_per_iteration())

    # --- the loop -----------------------------------------------------------------------------------------------

    def solve(self) -> bool:
        """Run to max_iter as Caffe does, or until a signal; whether the run is finished. Either way it is saved."""
        logger.info("Solving %s", self.net.graph.name)
        logger.info("Learning Rate Policy: %s", self.param.lr_policy)
        count = sum(param.tensor.numel() for param in self.net.params)
        logger.info("%d parameters, on %s, random_seed %d", count, self.device, self.seed)
        look_at_place(self.prefix, fresh=self._begun < 0)
        self.signals.stop = None
        try:
            with self.signals.caught():
                self._display.start(self.iter, self.param.max_iter)
                while self._goes_on():
                    self._iterate()
                ends_new = self.param.snapshot_after_train and self.iter != self._begun
                if self._saved != self.iter and (ends_new or self.signals.stop):
                    self.snapshot()
                if not self.signals.stop:
                    self._finish()
        except DataError:
            # The weights are still good, and so is the place in the data: nothing that was learnt is lost.
            if self.iter not in (0, self._begun):
                self._snapshot_or_log()
            raise
        finally:
            self.close()
        logger.info("Optimization stopped early." if self.signals.stop else "Optimization Done.")
        return not self.signals.stop

    def _finish(self) -> None:
        """What Caffe shows after the last iteration: the loss and the test of the final weights, where due."""
        if self._is_due(self.param.display):
            with torch.no_grad():
                self._display.add(self.net.loss(self.net()))
            logger.info("Iteration %d, loss = %.6g", self.iter, self._display.smoothed_loss())
        if self._is_due(self.param.test_interval):
            self.test()

    def step(self, iterations: int) -> None:
        """Run some iterations, whatever max_iter says. Signals are caught in `solve` only."""
        last = self.iter + iterations
        self._display.start(self.iter, last)
        while self._goes_on(last):
            self._iterate()
        self._display.close()

    def _goes_on(self, last: int | None = None) -> bool:
        """Take what came from outside since the last iteration; whether there is another, up to max_iter or `last`."""
        self._edits.take(self.iter)
        if self.param.test_interval and not self.test_nets:
            self._turn_tests_on()
        return self.iter < (self.param.max_iter if last is None else last) and not self.signals.stop

    def _turn_tests_on(self) -> None:
        """Open the test nets of a run that began without; what is wrong with them costs the tests, not the run."""
        try:
            self.test_nets = self._open_test_nets()
        except NetspecError as error:
            logger.error("there are no tests:\n%s", error)
            self.param.test_interval = 0

    def _open_test_nets(self) -> list[Net]:
        """The test nets, their labels checked; none without a test_interval."""
        nets = build_test_nets(self.document, self.param, self._overrides, self.net, self.seed)
        for net in nets:
            net.check_labels()
        return nets

    @property
    def loss(self) -> float:
        """The mean loss of the last `average_loss` iterations, as a display line shows it; nan before the first."""
        return self._display.smoothed_loss()

    def _iterate(self) -> None:
        """One iteration in Caffe's order: test if due, forward and backward, update, snapshot if due."""
        if self._is_due(self.param.test_interval) and (self.iter > 0 or self.param.test_initialization):
            self.test()
            if self.signals.stop:
                return
        self.net.debug_info = self.param.debug_info and self._is_due(self.param.display)
        out = self._forward_backward()
        rate = learning_rate(self.param, self.iter)
        if self._is_due(self.param.display):
            self._display.iteration(self.iter, rate, out, self.net.loss_weights)
        self.update.apply(self.param, rate)
        self.iter += 1
        if self._is_due(self.param.snapshot) or self.signals.take_snapshot_request():
            self._snapshot_or_log()

    def _forward_backward(self) -> dict[str, Tensor]:
        """One iteration's passes: gradients are summed, the loss is their mean; returns the last outputs."""
        for weight in self.update.weights:
            weight.grad = None
        total: Tensor | float = 0.0
        for _ in range(self.param.iter_size):
            out: dict[str, Tensor] = self.net()
            loss = self.net.loss(out)
            loss.backward()  # type: ignore[no-untyped-call]
            total = total + loss.detach()
        assert isinstance(total, Tensor)
        self._display.add(total / self.param.iter_size)
        return out

    def test(self) -> list[dict[str, list[float]]]:
        """Run every test net and log the means of its outputs; a test net without test_iter sees every record once.
        A signal that asks to stop ends it early; the run that resumes starts this test again."""
        results = []
        positions = [(source, source.position) for net in self.test_nets for _, source in net.sources]
        for index, net in enumerate(self.test_nets):
            logger.info("Iteration %d, Testing net (#%d)", self.iter, index)
            iterations = self.param.test_iter[index] if index < len(self.param.test_iter) else None
            means = evaluate(net, iterations, lambda: self.signals.stop)
            if self.signals.stop:
                for source, position in positions:
                    source.position = position
                break
            if self.param.test_compute_loss:
                loss = sum(weight * sum(means[name]) for name, weight in net.loss_weights.items())
                logger.info("Test loss: %.6g", loss)
            log_outputs("Test", means, net.loss_weights)
            results.append(means)
        return results

    def _is_due(self, interval: int) -> bool:
        return interval > 0 and self.iter % interval == 0

    def close(self) -> None:
        """End the background work of the nets."""
        self._display.close()
        for net in (self.net, *self.test_nets):
            net.close()

    def _images_per_iteration(self) -> int:
        first = next(iter(self.net.blob_shapes.values()), ())
        return (first[0] if first else 1) * self.param.iter_size

    # --- snapshots ----------------------------------------------------------------------------------------------

    @property
    def prefix(self) -> str:
        """What the names of the snapshots start with; without snapshot_prefix, or where that is a folder, the solver
        file's own name."""
        prefix = self.param.snapshot_prefix or str(Path(self.document.path).with_suffix(""))
        return str(Path(prefix) / Path(self.document.path).stem) if Path(prefix).is_dir() else prefix

    def snapshot(self) -> Path:
        """Write a snapshot of this iteration and return its .solverstate; SnapshotError where that fails."""
        weights = Path(f"{self.prefix}_iter_{self.iter}.caffemodel")
        state = weights.with_suffix(".solverstate")
        logger.info("Snapshotting to binary proto file %s", weights)
        digest = self.net.save(weights)
        logger.info("Snapshotting solver state to binary proto file %s", state)
        solver_state = SolverState(
            iter=self.iter, learned_net=str(weights), current_step=stage(self.param, self.iter - 1)
        )
        snapshots.write_state(state, self._run_state(digest), solver_state, self.update.history)
        self._saved = self.iter
        self.last_snapshot = state
        snapshots.prune(self.prefix, state, self.param.snapshot_keep)
        return state

    def _snapshot_or_log(self) -> None:
        """A snapshot that fails does not end the run: the one before is whole, and the next is tried when it is due."""
        try:
            self.snapshot()
        except SnapshotError as error:
            logger.error("%s; the run goes on, the next snapshot is tried when it is due", error)

    def _run_state(self, digest: bytes) -> RunState:
        return RunState(
            solver=to_text(self._edits.started_as),
            net=to_text(self.net.graph.document.message),
            seed=self.seed,
            random=snapshots.random_states(self.device),
            position=[
                DataPosition(net=n, layer=layer, position=source.position) for n, layer, source in self._sources()
            ],
            shown_loss=self._display.shown_losses,
            move=self._edits.moves,
            environment="\n".join(snapshots.environment(self.device)),
            weights_sha256=digest,
        )

    def _sources(self) -> list[tuple[str, str, Any]]:
        """Every data layer of the run, with the names under which its position is stored."""
        nets = [("train", self.net), *((f"test {index}", net) for index, net in enumerate(self.test_nets))]
        return [(name, node.name, source) for name, net in nets for node, source in net.sources]

    def resume(self, path: str | Path | None = None) -> Path:
        """Restore a snapshot, or without a path the newest one of this run's prefix that is whole; return it."""
        if path is None:
            return snapshots.newest_valid(self.prefix, self.restore)
        self.restore(path)
        return Path(path)

    def restore(self, path: str | Path) -> None:
        """Go on from a snapshot (either file of its pair), ours to the bit, Caffe's with weights, history and
        iteration. SnapshotError where it is missing, damaged, or of another net; the solver is then as it was."""
        path = snapshots.state_of_pair(Path(path))
        state = snapshots.read_state(path)
        weights = snapshots.weights_of(path, state)
        snapshots.check_history(path, state, self.update.history)
        self.net.load(weights, whole=True)
        snapshots.copy_history(state, self.update.history)
        self.iter = self._begun = state.iter
        logger.info("Resuming from %s at iteration %d", path, self.iter)
        if state.HasField("run"):
            self._restore_run(state.run)

    def _restore_run(self, run: RunState) -> None:
        """Take up what Caffe does not store: seed, data positions, moves by hand, shown losses, random states."""
        self.seed = run.seed
        positions = {(stored.net, stored.layer): stored.position for stored in run.position}
        for net, layer, source in self._sources():
            source.reseed(run.seed)
            source.position = positions.get((net, layer), 0)
        if run.net != to_text(self.net.graph.document.message):
            logger.warning("the net is not the one of the snapshot, though its blobs fit")
        self._edits.restore(run.move, parse_solver(run.solver), self.iter)
        self._display.restore(run.shown_loss)
        for before, now in zip(run.environment.splitlines(), snapshots.environment(self.device), strict=False):
            if before != now:
                logger.warning("the snapshot was made with %s, this is %s: bits may differ", before, now)
        snapshots.set_random_states(run.random, self.device)
