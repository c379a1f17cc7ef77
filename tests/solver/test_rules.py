"""The update rules against PyTorch's optimizers where both define the same, elsewhere against their papers."""

from collections.abc import Callable, Iterator, Sequence

import pytest
import torch
from torch import Tensor

from netspec import parse_solver
from netspec.blobs import Param
from netspec.schema.netspec_pb2 import SolverParameter
from netspec.solver.rules import UPDATES

Optimizer = Callable[[list[Tensor]], torch.optim.Optimizer]
ITERATIONS = 30
FIELDS = "momentum: 0.8 momentum2: 0.95 delta: 1e-3 weight_decay: 0.02 rms_decay: 0.9"

SAME: dict[str, tuple[str, Optimizer]] = {
    "SGD": ("", lambda w: torch.optim.SGD(w, lr=0.1, momentum=0.8, weight_decay=0.02)),
    "Nesterov": ("", lambda w: torch.optim.SGD(w, lr=0.1, momentum=0.8, weight_decay=0.02, nesterov=True)),
    "AdaGrad": ("", lambda w: torch.optim.Adagrad(w, lr=0.1, eps=1e-3, weight_decay=0.02)),
    "RMSProp": ("", lambda w: torch.optim.RMSprop(w, lr=0.1, alpha=0.9, eps=1e-3, weight_decay=0.02)),
    "AdaDelta": ("", lambda w: torch.optim.Adadelta(w, lr=0.1, rho=0.8, eps=1e-3, weight_decay=0.02)),
    "Adam": ("delta: 0", lambda w: torch.optim.Adam(w, lr=0.1, betas=(0.8, 0.95), eps=0, weight_decay=0.02)),
    "AdamW": ("", lambda w: torch.optim.AdamW(w, lr=0.1, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.02)),
    "RAdam": ("", lambda w: torch.optim.RAdam(w, lr=0.1, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.02)),
}
"""Solver types at a constant rate, with the optimizers that have the same rule then: Adam's where delta is 0."""


def solver_with(fields: str) -> SolverParameter:
    """A solver with FIELDS, some of them overridden."""
    solver = parse_solver(FIELDS)
    solver.MergeFrom(parse_solver(fields))
    return solver


def weights() -> list[Tensor]:
    """A matrix, a vector and a number, always the same."""
    draw = torch.Generator().manual_seed(3)
    return [torch.randn(shape, generator=draw).requires_grad_() for shape in ((4, 5), (6,), ())]


def gradients(of: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """A gradient of each weight for every iteration, some of them zero."""
    draw = torch.Generator().manual_seed(4)
    for iteration in range(ITERATIONS):
        drawn = [torch.randn(weight.shape, generator=draw) for weight in of]
        yield [torch.zeros_like(one) if iteration % 7 == 3 else one for one in drawn]


def moved(solver_type: str, fields: str, lr_mults: Sequence[float] = (1, 1, 1)) -> Iterator[list[Tensor]]:
    """The weights after every iteration under a solver type at a rate of 0.1."""
    solver = solver_with(fields)
    ours = weights()
    update = UPDATES[solver_type]([Param("layer", w, mult, 1.0) for w, mult in zip(ours, lr_mults, strict=True)])
    for iteration, drawn in enumerate(gradients(ours)):
        for weight, gradient in zip(ours, drawn, strict=True):
            weight.grad = gradient.clone()
        update.apply(solver, 0.1, iteration)
        yield [weight.detach().clone() for weight in ours]


def test_every_type_is_compared() -> None:
    """All solver types but LARS, which PyTorch lacks, are in the table."""
    assert {*SAME, "LARS"} == set(UPDATES)


@pytest.mark.parametrize("solver_type", SAME)
def test_torch_moves_the_weights_the_same_way(solver_type: str) -> None:
    """After every iteration the weights are those of torch.optim to 1e-6."""
    fields, optimizer_of = SAME[solver_type]
    theirs = weights()
    optimizer = optimizer_of(theirs)
    for ours, drawn in zip(moved(solver_type, fields), gradients(theirs), strict=True):
        for weight, gradient in zip(theirs, drawn, strict=True):
            weight.grad = gradient.clone()
        optimizer.step()
        for our, their in zip(ours, theirs, strict=True):
            torch.testing.assert_close(our, their.detach(), rtol=1e-6, atol=1e-6)


def test_adams_delta_is_added_as_in_caffe() -> None:
    """delta is added to sqrt(v) before any correction, where it matters: with a large one."""
    solver = parse_solver("momentum: 0.8 momentum2: 0.95 delta: 0.5")
    expected, first, second = weights()[0].detach().double(), 0.0, 0.0
    ours = weights()[0]
    update = UPDATES["Adam"]([Param("layer", ours, 1.0, 1.0)])
    for iteration, (gradient,) in enumerate(gradients([ours])):
        ours.grad = gradient.clone()
        update.apply(solver, 0.1, iteration)
        first = 0.8 * first + 0.2 * gradient.double()
        second = 0.95 * second + 0.05 * gradient.double() ** 2
        correction = (1 - 0.95 ** (iteration + 1)) ** 0.5 / (1 - 0.8 ** (iteration + 1))
        expected = expected - 0.1 * correction * first / (second**0.5 + 0.5)
        torch.testing.assert_close(ours.detach().double(), expected, rtol=1e-5, atol=1e-6)


def test_lars_is_its_papers() -> None:
    """Every blob moves at its own trust ratio; one whose length is 0 moves at the plain rate, without decay too."""
    solver = parse_solver("momentum: 0.8 weight_decay: 0.02 local_gw_ratio: 0.01")
    ours = [*weights(), torch.zeros(3, requires_grad=True)]
    expected = [weight.detach().double() for weight in ours]
    history = [torch.zeros_like(weight) for weight in expected]
    update = UPDATES["LARS"]([Param("layer", weight, 1.0, 1.0) for weight in ours])
    for iteration, drawn in enumerate(gradients(ours)):
        for index, gradient in enumerate(drawn):
            ours[index].grad = gradient.clone()
            weight, slope = expected[index], gradient.double()
            ratio = 0.01 * weight.norm() / (slope.norm() + 0.02 * weight.norm())
            ratio = ratio if weight.norm() > 0 and slope.norm() > 0 else 1.0
            history[index] = 0.8 * history[index] + 0.1 * ratio * (slope + 0.02 * weight)
            expected[index] = weight - history[index]
        update.apply(solver, 0.1, iteration)
        for our, their in zip(ours, expected, strict=True):
            torch.testing.assert_close(our.detach().double(), their, rtol=1e-5, atol=1e-6)


def test_lars_leaves_blobs_without_decay_alone() -> None:
    """With decay_mult 0 LARS is SGD."""
    solver = parse_solver(FIELDS)
    runs = []
    for solver_type in ("LARS", "SGD"):
        weight = weights()[0]
        update = UPDATES[solver_type]([Param("layer", weight, 1.0, 0.0)])
        weight.grad = torch.ones_like(weight)
        update.apply(solver, 0.1, 0)
        runs.append(weight.detach())
    assert torch.equal(*runs)


@pytest.mark.parametrize("solver_type", UPDATES)
def test_lr_mult_multiplies_the_rate(solver_type: str) -> None:
    """A blob with lr_mult 0.5 moves as one at half the rate; one with another lr_mult beside it changes nothing."""
    fields = SAME.get(solver_type, ("",))[0]
    solver = solver_with(fields)
    halved = list(moved(solver_type, fields, lr_mults=(0.5, 1, 2)))[-1][0]
    weight = weights()[0]
    update = UPDATES[solver_type]([Param("layer", weight, 1.0, 1.0)])
    for iteration, (gradient, *_) in enumerate(gradients(weights())):
        weight.grad = gradient.clone()
        update.apply(solver, 0.05, iteration)
    torch.testing.assert_close(halved, weight.detach(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("solver_type", "regularization"),
    [(name, kind) for name in UPDATES for kind in ("L1", "L2") if (name, kind) != ("AdamW", "L1")],  # that is refused
)
def test_clipping_and_iter_size_come_before_every_rule(solver_type: str, regularization: str) -> None:
    """Gradients ten times too long, clipped to a tenth, and summed over two passes, give the same weights."""
    fields = f'{SAME.get(solver_type, ("",))[0]} regularization_type: "{regularization}"'
    ours = []
    for clip, size, factor in ((-1, 1, 1.0), (10, 1, 1.0), (2, 2, 3.0)):
        solver = solver_with(f"{fields} clip_gradients: {clip} iter_size: {size}")
        weight = weights()[0]
        update = UPDATES[solver_type]([Param("layer", weight, 1.0, 1.0)])
        for iteration in range(3):
            weight.grad = torch.full_like(weight, 20**-0.5 * factor)  # of length `factor`
            update.apply(solver, 0.1, iteration)
        ours.append(weight.detach())
    for other in ours[1:]:
        torch.testing.assert_close(other, ours[0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("solver_type", UPDATES)
def test_a_blob_with_lr_mult_0_stays(solver_type: str) -> None:
    """It takes a gradient under force_backward, and never begins to learn: neither moves it, whatever `freeze` says."""
    weight = weights()[0]
    before = weight.detach().clone()
    update = UPDATES[solver_type]([Param("layer", weight, 0.0, 1.0)])
    update.regroup({"layer": 5})
    weight.grad = torch.ones_like(weight)
    update.apply(solver_with(""), 0.1, 0)
    assert torch.equal(weight.detach(), before)
