"""However a run computes in FP32, it learns the same within rounding."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from netspec import Solver

Build = Callable[..., Solver]

TEXT = Path(__file__).with_name("every_form.prototxt")
ITERATIONS = 20


def run(solver: Solver) -> tuple[list[float], list[torch.Tensor]]:
    """The losses of some iterations, and the weights in the end."""
    losses = [(solver.step(1), solver.loss)[1] for _ in range(ITERATIONS)]
    return losses, [param.tensor.detach().clone() for param in solver.net.params]


def use_all_forms(solver: Solver, place: int, longest: int = 9) -> None:
    """Compute every site of so many layers in its form of that place among its forms, where it has so many; but for
    dropout, whose forms draw otherwise."""
    sites = [site for site in solver.net.sites if len(site.forms) > place and len(site.layers) <= longest]
    solver.net.use_forms({site.key: site.forms[place].name for site in sites if "drop" not in site.key})


@pytest.mark.parametrize("way", ["CONTIGUOUS", "CHANNELS_LAST", "first forms", "second forms", "single layers"])
@pytest.mark.parametrize("net", ["digits.prototxt", "every_form.prototxt"])
def test_every_way_learns_the_same(solver_of: Build, net: str, way: str) -> None:
    """Memory formats and forms give the losses and weights of an exact run to 1e-5 over 20 iterations."""
    fields = {"net": str(TEXT.with_name(net)), "average_loss": 1, "base_lr": 0.01}
    # Dropout rests: its masks follow the layout of memory.
    settings = ["drop1.dropout_param.dropout_ratio=0"] if net == "digits.prototxt" else []
    exact = solver_of(settings, exact=True, memory_format=1, **fields)
    losses, weights = run(exact)
    torch.use_deterministic_algorithms(False)
    other = solver_of(settings, **fields, **({"memory_format": 1 if way == "CONTIGUOUS" else 2}))
    if way.endswith("forms"):
        use_all_forms(other, ["first forms", "second forms"].index(way))
    elif way == "single layers":
        use_all_forms(other, 0, 1)
    again, others = run(other)
    torch.testing.assert_close(torch.tensor(again), torch.tensor(losses), rtol=1e-5, atol=1e-6)
    for one, two in zip(others, weights, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=max(1e-6, 1e-5 * float(two.abs().max())))
