"""When a solver shows its passes, and what the net's field and `force_backward` change for it."""

import re
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import pytest
import torch

from netspec import Solver, read_net, to_text
from netspec.schema.netspec_pb2 import ParamSpec

SolverOf = Callable[..., Solver]


def shown(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The kind of each line of debug_info, and the iterations displayed between them."""
    kinds = [re.sub(r"^ *\[(\w+)\].*|^(Iteration \d+) \(.*|.*", r"\1\2", r.getMessage()) for r in caplog.records]
    return [kind for kind, _ in groupby(filter(None, kinds))]


def test_displayed_iterations_are_shown(solver_of: SolverOf, caplog: pytest.LogCaptureFixture) -> None:
    """With debug_info, the passes of the iterations that `display` shows are shown, before their lines."""
    solver = solver_of(debug_info=True, display=2, max_iter=4, test_interval=0, test_iter=[])
    caplog.clear()
    solver.step(4)
    assert shown(caplog) == ["Forward", "Backward", "Iteration 0", "Forward", "Backward", "Iteration 2"]


def test_without_display_nothing_is_shown(solver_of: SolverOf, caplog: pytest.LogCaptureFixture) -> None:
    """debug_info without display shows nothing of the train net; its own field says nothing in a run."""
    solver = solver_of(debug_info=True, display=0, test_interval=0, test_iter=[])
    solver.net.debug_info = True
    caplog.clear()
    solver.step(2)
    assert shown(caplog) == []


@pytest.mark.parametrize("debug_info", [True, False])
def test_test_nets_are_shown_with_the_solvers_field(
    solver_of: SolverOf, caplog: pytest.LogCaptureFixture, debug_info: bool
) -> None:
    """The passes of test nets are shown where the solver's debug_info says so: forward only."""
    solver = solver_of(debug_info=debug_info)
    caplog.clear()
    solver.test()
    assert set(shown(caplog)) == ({"Forward"} if debug_info else set())


def test_force_backward_does_not_move_what_is_frozen(solver_of: SolverOf, tmp_path: Path) -> None:
    """A frozen layer has gradients under force_backward, and keeps its weights; the others learn."""
    changed = read_net(Path(__file__).parent / "digits.prototxt")
    changed.force_backward = True
    first = next(layer for layer in changed.layer if layer.type in ("Convolution", "InnerProduct"))
    first.ClearField("param")
    first.param.extend([ParamSpec(lr_mult=0)] * 2)
    path = tmp_path / "forced.prototxt"
    path.write_text(to_text(changed))
    forced = solver_of(net=str(path), weight_decay=0.1, test_interval=0, test_iter=[])
    learnable = [param for param in forced.net.params if param.tensor.requires_grad]
    before = [param.tensor.detach().clone() for param in learnable]
    forced.step(2)
    moved = [not torch.equal(old, param.tensor) for old, param in zip(before, learnable, strict=True)]
    assert [param.lr_mult for param in learnable][:2] == [0, 0]
    assert moved == [param.lr_mult != 0 for param in learnable]
