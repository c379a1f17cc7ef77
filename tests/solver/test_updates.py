"""The update rules, iteration by iteration, against the runs that Caffe recorded."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from netspec import Net, parse_net, parse_solver
from netspec.schema.netspec_pb2 import SolverParameter
from netspec.solver.rates import learning_rate
from netspec.solver.rules import UPDATES
from netspec.solver.updates import Update

RECORDINGS = Path(__file__).parents[1] / "golden" / "solvers"
CASES = sorted(path.stem for path in RECORDINGS.glob("*.npz"))
Arrays = dict[str, np.ndarray]


class Run:
    """A recorded run, driven by hand because its net has an Input layer."""

    def __init__(self, case: str) -> None:
        self.recorded: Arrays = dict(np.load(RECORDINGS / f"{case}.npz"))
        self.solver: SolverParameter = parse_solver(str(self.recorded["solver"]))
        self.net = Net(parse_net(str(self.recorded["net"])), "TRAIN")
        with torch.no_grad():
            for index, param in enumerate(self.net.params):
                param.tensor.copy_(torch.from_numpy(self.recorded[f"init/{index}"]))
        self.update: Update = UPDATES[self.solver.type](self.net.params)

    def losses(self, iteration: int) -> list[float]:
        """The losses of one iteration's passes, whose gradients are left in the weights."""
        first = iteration * self.solver.iter_size
        losses = []
        for index in range(first, first + self.solver.iter_size):
            batch = {name: torch.from_numpy(self.recorded[name][index]) for name in ("data", "label")}
            loss = self.net.loss(self.net(**batch))
            loss.backward()
            losses.append(loss.item())
        return losses

    def iterations(self) -> Iterator[tuple[int, list[float]]]:
        """Run every iteration, giving its number and its losses once its update is done."""
        for iteration in range(self.solver.max_iter):
            self.net.zero_grad()
            losses = self.losses(iteration)
            self.update.apply(self.solver, learning_rate(self.solver, iteration), iteration)
            yield iteration, losses


def assert_close(ours: torch.Tensor, theirs: np.ndarray, tolerance: float, what: str) -> None:
    atol = tolerance * np.abs(theirs).max()
    np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=0, atol=atol, err_msg=what)


@pytest.mark.parametrize("case", CASES)
def test_every_iteration_is_caffes(case: str) -> None:
    """Loss before and weights after every update, and the history at the end, are those that Caffe recorded."""
    run = Run(case)
    for iteration, losses in run.iterations():
        assert np.mean(losses) == pytest.approx(run.recorded["loss"][iteration], rel=1e-4)
        for index, param in enumerate(run.net.params):
            recorded = run.recorded[f"weight/{index}"][iteration]
            assert_close(param.tensor, recorded, 2e-4, f"weight {index} after iteration {iteration}")
    for index, history in enumerate(run.update.history):
        recorded = run.recorded[f"history/{index}"]
        assert history.shape == recorded.shape
        np.testing.assert_allclose(history.numpy(), recorded, rtol=0, atol=1e-4 * max(np.abs(recorded).max(), 1e-30))


def test_frozen_blobs_have_a_history_of_zeros() -> None:
    """A blob with lr_mult 0 stays as it is, and keeps its place in the history."""
    run = Run("sgd_frozen")
    for _ in run.iterations():
        pass
    assert [bool(history.any()) for history in run.update.history] == [False, False, True, True]
    assert torch.equal(run.net.params[0].tensor, torch.from_numpy(run.recorded["init/0"]))


def test_weights_without_a_gradient_still_decay() -> None:
    """A blob that the loss does not reach is moved by its decay alone, as in Caffe."""
    run = Run("sgd_nomomentum")
    before = run.net.params[0].tensor.detach().clone()
    run.update.apply(run.solver, 0.1, 0)
    assert_close(run.net.params[0].tensor, (before * (1 - 0.1 * 0.01)).numpy(), 1e-6, "decayed")


def test_clipping_leaves_small_gradients_alone() -> None:
    """Gradients whose common norm is below clip_gradients, or exactly 0, are used as they are."""
    for gradient in (0.0, 1e-3):
        run = Run("sgd_nomomentum")
        run.solver.clip_gradients = 100
        run.solver.weight_decay = 0
        before = [param.tensor.detach().clone() for param in run.net.params]
        for param in run.net.params:
            param.tensor.grad = torch.full_like(param.tensor, gradient)
        run.update.apply(run.solver, 1.0, 0)
        for param, old in zip(run.net.params, before, strict=True):
            torch.testing.assert_close(param.tensor.detach(), old - gradient)
