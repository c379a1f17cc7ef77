"""The update rules with numbers that lie on the device."""

from collections.abc import Iterator

import pytest
import torch

from netspec import parse_solver
from netspec.blobs import Param
from netspec.solver.capture import Scalars
from netspec.solver.rules import UPDATES


def changing_rates() -> Iterator[float]:
    """Rates for 30 iterations, among them 0."""
    return (0.0 if iteration == 8 else 0.1 / (1 + iteration) for iteration in range(30))


@pytest.mark.parametrize("decay", ["L1", "L2"])
@pytest.mark.parametrize("clip", [-1.0, 0.5])
@pytest.mark.parametrize("solver_type", UPDATES)
def test_rules_take_numbers_from_the_device(solver_type: str, clip: float, decay: str) -> None:
    """Every rule moves weights as it does with numbers from Python, to 1e-6, as the rate changes; also
    to a rate of 0."""
    if (solver_type, decay) == ("AdamW", "L1"):
        return
    solver = parse_solver(
        f"momentum: 0.8 momentum2: 0.95 delta: 1e-3 weight_decay: 0.02 rms_decay: 0.9 iter_size: 2 "
        f"local_gw_ratio: 0.01 clip_gradients: {clip} regularization_type: '{decay}'"
    )
    draw = torch.Generator().manual_seed(5)
    start = [torch.randn(shape, generator=draw) for shape in ((4, 5), (6,), ())]
    both = [[weight.clone().requires_grad_() for weight in start] for _ in range(2)]
    plain, on_device = (
        UPDATES[solver_type]([Param("layer", w, lr_mult, 1.0) for w, lr_mult in zip(weights, (1, 2, 1), strict=True)])
        for weights in both
    )
    scalars: Scalars | None = None
    for iteration, rate in enumerate(changing_rates()):
        paces = on_device.paces(solver, rate, iteration)
        if scalars is None or scalars.paces[0].is_early != paces[0].is_early:
            scalars = Scalars(paces, on_device.changing, torch.device("cpu"))
        scalars.fill(paces)
        for ours, theirs in zip(*both, strict=True):
            ours.grad = torch.randn(ours.shape, generator=draw)
            theirs.grad = ours.grad.clone()
        plain.apply(solver, rate, iteration)
        on_device.change(solver, scalars.paces)
        for ours, theirs in zip(both[0] + plain.history, both[1] + on_device.history, strict=True):
            torch.testing.assert_close(ours.detach(), theirs.detach(), rtol=1e-6, atol=1e-6)
