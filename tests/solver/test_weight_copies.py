"""Passes that read kept copies of the weights compute what autocast would, to the bit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_recorder import FakeRecorder, Refusing, capture_by
from test_equal_paths import DRAWING_FORMS, use_forms
from written import blobs, same

from netspec import Net, Solver
from netspec.schema.netspec_pb2 import Capture, FreezeParameter, Precision
from netspec.solver.operations import Operations
from netspec.solver.weight_copies import WeightCopies
from netspec.tracing import recorded

Build = Callable[..., Solver]

ITERATIONS = 20
FORMS = str(Path(__file__).with_name("every_form.prototxt"))
SHARED = """
name: "shared"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 4 dim: 6 } } }
layer { name: "narrow" type: "Input" top: "narrow" input_param { shape { dim: 4 dim: 4 } } }
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 4 } } }
layer { name: "one" type: "InnerProduct" bottom: "data" top: "one" param { name: "w" }
  inner_product_param { num_output: 6 bias_term: false weight_filler { type: "xavier" } } }
layer { name: "two" type: "InnerProduct" bottom: "one" top: "two" param { name: "w" }
  inner_product_param { num_output: 6 bias_term: false } }
layer { name: "three" type: "InnerProduct" bottom: "narrow" top: "three" param { name: "w" share_mode: PERMISSIVE }
  inner_product_param { num_output: 9 bias_term: false } }
layer { name: "all" type: "Concat" bottom: "two" bottom: "three" top: "all" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "all" bottom: "label" top: "loss" }
"""

CASES: dict[str, dict[str, Any]] = {
    "SGD": {},
    "two batches an iteration": {"iter_size": 2, "clip_gradients": 0.5},
    "averaged weights": {"type": "Adam", "momentum2": 0.999, "ema_decay": 0.9},
    "a layer that begins to learn": {"freeze": [FreezeParameter(layer=["conv1"], until=6)]},
    "a net of many layers": {"net": FORMS, "base_lr": 0.001},
    "replayed": {"capture": Capture.ON},
    "tested": {"test_interval": 5},
}


@pytest.mark.parametrize(
    ("case", "precision"),
    [*((case, Precision.BF16) for case in CASES), *((case, Precision.FP16) for case in CASES if case != "replayed")],
)
def test_a_run_with_copies_is_the_same(solver_of: Build, case: str, precision: int) -> None:
    """So are its weights, statistics, history and losses, after iterations in which the copies are all that is read."""
    fields = {"test_interval": 0, "snapshot": 0, "precision": precision, "capture": Capture.OFF, **CASES[case]}
    found = []
    for has_copies in (False, True):
        solver = solver_of(**fields)
        solver.tune(ITERATIONS)
        assert solver._passes.copies
        if not has_copies:
            solver._copy_weights(None)
        solver.step(ITERATIONS)
        found.append([*blobs(solver), torch.tensor(solver._display.shown_losses)])
    assert same(*found)


def test_captured_iterations_keep_copies(solver_of: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """On what stands for CUDA graphs, the update of a captured iteration makes the copies that the next one reads."""
    fields = {"test_interval": 0, "snapshot": 0, "precision": Precision.BF16}
    capture_by(monkeypatch, Refusing)
    plain = solver_of(**fields)
    plain.step(ITERATIONS)
    recorders = capture_by(monkeypatch)
    captured = solver_of(**fields)
    captured.tune(ITERATIONS)
    captured.step(ITERATIONS)
    assert captured._passes.copies and recorders[0].replayed == ITERATIONS - FakeRecorder.warm_ups
    assert same(blobs(plain), blobs(captured))


@pytest.mark.parametrize("names", DRAWING_FORMS, ids="+".join)
def test_forms_read_copies(solver_of: Build, names: tuple[str, ...]) -> None:
    """Whatever the form, it computes the same with them."""
    found = []
    for has_copies in (False, True):
        solver = solver_of(net=FORMS, base_lr=0.001, test_interval=0, snapshot=0, precision=Precision.BF16)
        use_forms(solver, names)
        solver._copy_weights(solver.speed.copies(solver.net) if has_copies else None)
        solver.step(3)
        found.append(blobs(solver))
    assert same(*found)


def test_no_weight_is_cast(solver_of: Build) -> None:
    """A pass makes one cast less for each blob that has a copy; gradients become float32 as before."""
    solver = solver_of(precision=Precision.BF16, test_interval=0)
    solver.tune(ITERATIONS)
    casts = []
    for copies in (solver._passes.copies, None):
        solver._copy_weights(copies)
        with recorded(), Operations() as operations:
            _, loss = solver._passes.run()
        program = operations.program(loss)
        assert program, operations.reason
        casts.append(program.code.count("aten._to_copy"))
    assert casts[1] - casts[0] == 4  # weight and bias of conv1 and of ip


def test_shared_weights(tmp_path: Path) -> None:
    """Layers that share a blob read one copy of it; one that has it in another shape is left to autocast."""
    path = tmp_path / "shared.prototxt"
    path.write_text(SHARED)
    torch.manual_seed(1)
    net = Net(path, "TRAIN")
    net.precision = "BF16"
    given = {"data": torch.randn(4, 6), "narrow": torch.randn(4, 4), "label": torch.tensor([0.0, 1, 2, 3])}
    copies, found = WeightCopies(net), []
    for is_copied in (False, True):
        if is_copied:
            with copies.in_place():
                loss = net.loss(net(**given))
        else:
            loss = net.loss(net(**given))
        (weight,) = net.parameters()
        (gradient,) = torch.autograd.grad(loss, [weight])
        found.append([loss, gradient])
    assert same(*found) and gradient.dtype == torch.float32


def test_weights_are_read_where_anybody_may_change_them(solver_of: Build) -> None:
    """After a run, and after a snapshot came, the next iteration sees the weights as they are."""
    solver = solver_of(precision=Precision.BF16, test_interval=0, max_iter=3)
    assert solver.solve() and solver._passes.copies is None
    snapshot = solver.last_snapshot
    losses = []
    for _ in range(2):
        solver.restore(snapshot)
        solver.tune(ITERATIONS)
        solver.restore(snapshot)
        with torch.no_grad():
            for weight in solver.net.parameters():
                weight.zero_()
        losses.append(solver.rehearse())
    assert losses[0] == losses[1] == pytest.approx(2.302585, abs=1e-4)


def test_fp32_has_none(solver_of: Build) -> None:
    """There a pass reads the weights."""
    solver = solver_of()
    solver.tune(ITERATIONS)
    assert solver._passes.copies is None and solver.update.copies is None
