"""However a run computes in FP32, it learns the same within rounding."""

from collections.abc import Callable, Sequence
from itertools import chain, product
from pathlib import Path

import pytest
import torch

from netspec import Solver
from netspec.forms import FORMS, JOINING_FORMS

Build = Callable[..., Solver]

TEXT = Path(__file__).with_name("every_form.prototxt")
ITERATIONS = 20
FORMATS = ["CONTIGUOUS", "CHANNELS_LAST"]
EQUAL_FORMS = [("fused", "closed", "affine", "one_buffer"), ("product", "patches", "folded"), ("closed", "folded_relu")]
"""Forms that a net can be in at a time, and that compute within rounding what the layers do."""

DRAWING_FORMS = [(*names, "bits") for names in EQUAL_FORMS]
"""The same with the form of dropout, which draws otherwise than the layer."""

WAYS = [
    *product(["digits.prototxt"], FORMATS, [(), ("patches", "affine")]),
    *product([TEXT.name], FORMATS, [(), *EQUAL_FORMS]),
]


def run(solver: Solver) -> tuple[list[float], list[torch.Tensor]]:
    """The losses of some iterations, and the weights in the end."""
    losses = [(solver.step(1), solver.loss)[1] for _ in range(ITERATIONS)]
    return losses, [param.tensor.detach().clone() for param in solver.net.params]


def use_forms(solver: Solver, names: Sequence[str]) -> None:
    """Compute every site that has one of these forms in it, all else plainly; the net then has each of them."""
    forms = {site.key: kind.name for site in solver.net.sites for kind in site.forms if kind.name in names}
    solver.net.use_forms(forms)
    assert set(solver.net.forms.values()) == set(names)


def test_every_form_has_a_case() -> None:
    """What is registered is what the cases of the tests of whole runs use."""
    registered = {kind.name for kind in chain(*FORMS.values(), *JOINING_FORMS.values())}
    assert set(chain(*DRAWING_FORMS)) == registered


@pytest.mark.parametrize(("net", "memory_format", "names"), WAYS, ids=str)
def test_every_way_learns_the_same(solver_of: Build, net: str, memory_format: str, names: tuple[str, ...]) -> None:
    """Memory formats and forms give the losses and weights of an exact run to 1e-5 over 20 iterations."""
    fields = {"net": str(TEXT.with_name(net)), "average_loss": 1, "base_lr": 0.01}
    # Dropout of images rests: its masks follow the layout of memory.
    settings = ["drop1.dropout_param.dropout_ratio=0"] if net == "digits.prototxt" else []
    exact = solver_of(settings, exact=True, memory_format="CONTIGUOUS", **fields)
    losses, weights = run(exact)
    torch.use_deterministic_algorithms(False)
    other = solver_of(settings, memory_format=memory_format, **fields)
    use_forms(other, names)
    again, others = run(other)
    torch.testing.assert_close(torch.tensor(again), torch.tensor(losses), rtol=1e-5, atol=1e-6)
    for one, two in zip(others, weights, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=max(1e-6, 1e-5 * float(two.abs().max())))
