"""On a CPU, passes that are replayed operation by operation are those of the layers, to the bit."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from test_equal_paths import DRAWING_FORMS, use_forms
from test_resume import assert_identical, everything, resumed
from torch import Tensor
from written import blobs, same

from netspec import DataError, Solver
from netspec.errors import DivergedError, SpecError
from netspec.layers import LAYER_TYPES, Layer
from netspec.layers.base import LayerType
from netspec.layers.sources import Pending
from netspec.schema.netspec_pb2 import Capture, FreezeParameter, Precision
from netspec.solver.operations import Program

Build = Callable[..., Solver]

ITERATIONS = 12
FORMS = str(Path(__file__).with_name("every_form.prototxt"))


@pytest.fixture
def replays(monkeypatch: pytest.MonkeyPatch) -> list[Program]:
    """The programs of the replays that there are, one for each."""
    made: list[Program] = []
    call = Program.__call__

    def noted(program: Program) -> Any:
        made.append(program)
        return call(program)

    monkeypatch.setattr(Program, "__call__", noted)
    return made


def both_ways(build: Build, run: Callable[[Solver], object], **fields: Any) -> Iterator[Solver]:
    """The same run without and with replayed passes."""
    for capture in (Capture.OFF, Capture.ON):
        solver = build(capture=capture, **{"test_interval": 0, "snapshot": 0, **fields})
        solver.tune(ITERATIONS)
        run(solver)
        yield solver


RUNS: dict[str, dict[str, Any]] = {
    "BatchNorm, dropout, crops": {},
    "two batches an iteration": {"iter_size": 2, "clip_gradients": 0.5},
    "averaged weights": {"type": "Adam", "momentum2": 0.999, "ema_decay": 0.9, "regularization_type": "L1"},
    "BF16": {"precision": Precision.BF16},
    "exact": {"exact": True},
    "a net of many forms": {"net": FORMS, "base_lr": 0.001},
}


@pytest.mark.parametrize("case", RUNS)
def test_replayed_passes_are_the_plain_ones(solver_of: Build, replays: list[Program], case: str) -> None:
    """Weights, statistics, history and losses are the same, after two passes that are written down."""
    runs = [
        [*blobs(solver), torch.tensor(solver._display.shown_losses)]
        for solver in both_ways(solver_of, lambda solver: solver.step(ITERATIONS), **RUNS[case])
    ]
    assert same(*runs)
    assert len(replays) == ITERATIONS - 2 and len(set(replays)) == 1


def test_what_was_written_down_outlives_a_close(solver_of: Build, replays: list[Program]) -> None:
    """Background work that ends and begins again changes no operation."""

    def run(solver: Solver) -> None:
        for _ in range(2):
            solver.step(ITERATIONS // 2)
            solver.close()

    assert same(*(blobs(solver) for solver in both_ways(solver_of, run, precision=Precision.BF16)))
    assert len(replays) == ITERATIONS - 2 and len(set(replays)) == 1


@pytest.mark.parametrize("names", DRAWING_FORMS, ids="+".join)
def test_every_form_is_replayed(solver_of: Build, replays: list[Program], names: tuple[str, ...]) -> None:
    """So are the operations of forms, forward and backward."""

    def run(solver: Solver) -> None:
        use_forms(solver, names)
        solver.step(ITERATIONS)

    runs = [blobs(solver) for solver in both_ways(solver_of, run, net=FORMS, base_lr=0.001)]
    assert same(*runs) and len(replays) == ITERATIONS - 2


def test_a_layer_that_begins_to_learn_is_followed(solver_of: Build, replays: list[Program]) -> None:
    """Other gradients are other operations, which are written down then."""
    fields = {"freeze": [FreezeParameter(layer=["conv1"], until=6)]}
    runs = [blobs(solver) for solver in both_ways(solver_of, lambda solver: solver.step(ITERATIONS), **fields)]
    assert same(*runs)
    assert len(replays) == ITERATIONS - 4 and len(set(replays)) == 2


def test_a_resumed_run_is_the_uninterrupted_one(solver_of: Build, replays: list[Program]) -> None:
    """Dropout draws on as it would have, whatever was replayed before a snapshot."""
    fields = {"snapshot": 0, "test_interval": 0, "capture": Capture.ON}
    straight = solver_of(**fields)
    straight.tune(ITERATIONS)
    straight.step(10)
    straight.snapshot()
    straight.step(10)
    expected = everything(straight)
    again = resumed(solver_of, **fields)
    again.tune(ITERATIONS)
    again.step(10)
    assert_identical(expected, everything(again))
    assert len(replays) == 18 + 8


def test_a_restored_solver_writes_down_anew(solver_of: Build, replays: list[Program]) -> None:
    """What a snapshot brings may lie elsewhere in memory."""
    solver = solver_of(snapshot=0, test_interval=0, capture=Capture.ON)
    solver.tune(ITERATIONS)
    state, runs = solver.snapshot(), []
    for _ in range(2):
        solver.restore(state)
        solver.step(ITERATIONS)
        runs.append(blobs(solver))
    assert same(*runs) and len(set(replays)) == 2


# --- what is refused, and what goes wrong -----------------------------------------------------------------------------


def test_a_wrong_label_is_told_as_ever(solver_of: Build, replays: list[Program]) -> None:
    """The message has the layer and the label; the batch can come again, and no weight has moved."""
    told = []

    def run(solver: Solver) -> None:
        solver.step(ITERATIONS)
        source, before = solver.net.sources[0][1], blobs(solver)
        position, real = source.position, source.pending

        def wrong() -> Pending:
            images, labels = real().tops()
            return Pending([images, torch.full_like(labels, 77)])

        source.pending = wrong  # type: ignore[method-assign]
        with pytest.raises(DataError) as caught:
            solver.step(1)
        told.append(str(caught.value))
        assert source.position == position
        assert same([b for b in before if b.requires_grad], [b for b in blobs(solver) if b.requires_grad])

    assert len(list(both_ways(solver_of, run))) == 2
    assert told[0] == told[1] == 'layer "loss": a label is none of the classes 0 to 9, but 77'
    assert len(replays) == ITERATIONS - 2 + 1


def test_a_loss_that_is_no_number_is_seen_before_the_update(solver_of: Build, replays: list[Program]) -> None:
    """The run ends at the same iteration with the same words as without."""
    told = []

    def run(solver: Solver) -> None:
        with pytest.raises(DivergedError) as caught:
            solver.step(100)
        told.append(f"{caught.value}")

    assert len(list(both_ways(solver_of, run, base_lr=50.0))) == 2
    assert told[0] == told[1] and replays


class Counting(Layer):
    """Multiplies by a number that grows in Python, after some passes."""

    def forward(self, x: Tensor) -> Tensor:
        self.passes = getattr(self, "passes", 0) + 1
        return x * self.passes


class Reading(Layer):
    """Divides by the largest value, which it takes to Python."""

    def forward(self, x: Tensor) -> Tensor:
        return x if x.is_meta else x / x.abs().max().item()


OWN = {
    Counting: "it does not do the same in each iteration",
    Reading: "aten::_local_scalar_dense looks at values",
}


@pytest.fixture(params=OWN, ids=lambda kind: kind.__name__)
def own_layer(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[str, str]:
    """A net with a layer that cannot be replayed, and why."""
    monkeypatch.setitem(LAYER_TYPES, "Own", LayerType(request.param, 1, 1, False))
    text = Path(__file__).with_name("digits.prototxt").read_text()
    net = tmp_path / "own.prototxt"
    net.write_text(text.replace('type: "ReLU"', 'type: "Own"'))
    return str(net), OWN[request.param]


def test_what_differs_from_pass_to_pass_runs_as_it_is(
    solver_of: Build, replays: list[Program], own_layer: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """One line says why, and nothing is replayed; with capture: ON it is an error."""
    net, reason = own_layer
    fields = {"net": net, "test_interval": 0, "snapshot": 0, "base_lr": 0.001, "forms": False, "memory_format": 1}
    runs = []
    for capture in (Capture.OFF, Capture.AUTO):
        solver = solver_of(capture=capture, **fields)
        solver.tune(1000)
        solver.step(ITERATIONS)
        runs.append(blobs(solver))
    assert same(*runs) and not replays
    assert caplog.messages.count(f"Not captured: {reason}") == 1
    solver = solver_of(capture=Capture.ON, **fields)
    solver.tune(ITERATIONS)
    with pytest.raises(SpecError, match="capture: ON does not work here: ") as raised:
        solver.step(ITERATIONS)
    assert reason in str(raised.value)


def test_a_net_that_cannot_be_replayed_is_told_of_in_long_runs(
    solver_of: Build, replays: list[Program], caplog: pytest.LogCaptureFixture
) -> None:
    """One line where it matters; with capture: ON it is an error there."""
    reason = "debug_info looks at every blob of a pass"
    solver = solver_of(snapshot=0, test_interval=0, debug_info=True)
    for iterations, told in ((100, 0), (1000, 1)):
        solver.tune(iterations)
        assert caplog.messages.count(f"Not captured: {reason}") == told
    solver.step(3)
    assert not replays
    insisting = solver_of(snapshot=0, test_interval=0, debug_info=True, capture=Capture.ON)
    with pytest.raises(SpecError, match=f"capture: ON does not work here: {reason}"):
        insisting.tune(ITERATIONS)


@pytest.mark.parametrize(("tuned_for", "is_replayed"), [(None, False), (499, False), (500, True)])
def test_long_runs_are_replayed(
    solver_of: Build,
    replays: list[Program],
    tuned_for: int | None,
    is_replayed: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Those in which writing down pays, and the log says so; not where only `step` is called, as between its calls
    anything may be done with a net."""
    solver = solver_of(snapshot=0, test_interval=0)
    if tuned_for:
        solver.tune(tuned_for)
    solver.step(3)
    assert bool(replays) is is_replayed
    assert ("iterations are captured, then replayed" in caplog.text) is is_replayed
