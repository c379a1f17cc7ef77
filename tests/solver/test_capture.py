"""Captured iterations are the plain ones: on a stand-in for CUDA graphs that is as strict as they are, and on a GPU."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
import torch
from fake_recorder import FakeRecorder, Refusing, capture_by
from test_resume import TYPES, assert_identical, everything, resumed
from torch import Tensor
from written import blobs, same

from netspec import DataError, Solver
from netspec.data import images
from netspec.data.images import ImageBatches
from netspec.data.prefetch import Prefetch
from netspec.data.records import Records
from netspec.data.residence import Resident
from netspec.data.transform import Transform
from netspec.errors import DivergedError
from netspec.schema.netspec_pb2 import FreezeParameter
from netspec.solver.recorder import CudaRecorder

Build = Callable[..., Solver]
T = TypeVar("T")
Recording = Callable[..., list[FakeRecorder]]
HERE = Path(__file__).parent
WARM_UP = FakeRecorder.warm_ups
ITERATIONS = 20
CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")

ALL_TYPES: dict[str, dict[str, Any]] = {"SGD": {}, **TYPES}

RATES: dict[str, dict[str, Any]] = {
    "step": {"lr_policy": "step", "stepsize": 3},
    "multistep": {"stepvalue": [4, 9]},
    "poly": {"lr_policy": "poly", "power": 1.0, "clip_gradients": 0.5},
    "cosine": {"lr_policy": "cosine", "min_lr": 0.001, "regularization_type": "L1", "iter_size": 2},
    "warm-up": {"warmup_iter": 12, "iter_size": 2, "ema_decay": 0.9},
}
"""Rates that change while an iteration stays captured, and what else an update may do."""

RUNS: dict[str, tuple[str, ...]] = {
    "SGD": tuple(RATES),
    "Nesterov": ("step", "cosine"),
    "AdaGrad": ("multistep", "warm-up"),
    "RMSProp": ("poly", "cosine"),
    "AdaDelta": ("step", "warm-up"),
    "Adam": ("poly", "cosine"),
    "AdamW": ("multistep", "warm-up"),
    "RAdam": ("poly", "warm-up"),
    "LARS": ("step", "cosine"),
}
"""The rates under which each type is run."""


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch) -> Recording:
    """Let solvers from now on be captured; the recorders that they make."""
    return partial(capture_by, monkeypatch)


# --- whole runs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("solver_type", "rates"), [(name, rates) for name in ALL_TYPES for rates in RUNS[name]])
def test_a_captured_run_is_the_same_run(solver_of: Build, recording: Recording, solver_type: str, rates: str) -> None:
    """Weights, statistics, history and losses are those of the same operations one by one, to the bit, with momentum,
    decay, dropout and BatchNorm; nothing is captured twice, but for the two ways of RAdam."""
    fields = {"type": solver_type, "test_interval": 0, "snapshot": 0, **ALL_TYPES[solver_type], **RATES[rates]}
    runs = []
    for kind in (FakeRecorder, Refusing):
        (recorders, solver) = recording(kind), solver_of(**fields)
        solver.step(ITERATIONS)
        runs.append([*blobs(solver), torch.tensor(solver._display.shown_losses)])
        if kind is FakeRecorder:
            phases = 2 if solver_type == "RAdam" else 1
            assert (recorders[0].recorded, recorders[0].warmed_up) == (phases, WARM_UP * phases)
            assert recorders[0].replayed == ITERATIONS - WARM_UP * phases
    assert same(*runs)


def images_come_as_to_a_gpu(monkeypatch: pytest.MonkeyPatch, is_resident: bool) -> None:
    """Let the net get images as they are stored, or the numbers of those that lie on the device."""

    def start(batches: ImageBatches, loaded: Iterator[Any], depth: int, origin: Path | None = None) -> Any:
        ahead = Prefetch(loaded, depth, origin)
        return ahead, map(batches.pending, ahead)

    def resident(records: Records, *_: object) -> Resident | None:
        return Resident(records, torch.device("cpu"), True) if is_resident else None

    monkeypatch.setattr(ImageBatches, "start", start)
    monkeypatch.setattr(ImageBatches, "at_once", lambda batches: 1)
    monkeypatch.setattr(Transform, "__call__", Transform._on_device)
    monkeypatch.setattr(images, "resident", resident)


TRANSFORMS = {
    "scaled": "scale: 0.0625",
    "drawn": "crop_size: 6 mirror: true mean_value: 8 scale: 0.0625",
    "in the centre": "crop_size: 7 center_crop: true mirror: true scale: 0.0625",
    "not mirrored": "crop_size: 5 mean_value: 3",
}


@pytest.mark.parametrize("is_resident", [False, True], ids=["batches", "resident"])
@pytest.mark.parametrize("transform", TRANSFORMS)
def test_images_are_made_in_the_captured_iteration(
    solver_of: Build, recording: Recording, transform: str, is_resident: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What crops and mirrors images that reach the net as they are stored is captured too; the run learns what one
    learns that is given them ready."""
    settings = [f"data.transform_param={{ {TRANSFORMS[transform]} }}"]
    recording(Refusing)
    plain = solver_of(settings, iter_size=2)
    plain.step(ITERATIONS)
    expected = blobs(plain), plain.test()
    images_come_as_to_a_gpu(monkeypatch, is_resident)
    recorders, captured = recording(), solver_of(settings, iter_size=2)
    captured.step(ITERATIONS)
    assert same(expected[0], blobs(captured))
    assert expected[1] == captured.test()
    types = {tensor.dtype for tensor in captured.net.pending_inputs().tensors}
    assert (torch.int64 if is_resident else torch.uint8) in types
    assert recorders[0].recorded == 2  # the iterations and the test net, each once


@pytest.mark.parametrize("solver_type", ALL_TYPES)
def test_it_learns_as_a_plain_run(solver_of: Build, recording: Recording, solver_type: str) -> None:
    """Losses and averaged weights are those of a run that takes its numbers from Python, within rounding."""
    fields = {"type": solver_type, "test_interval": 0, "snapshot": 0, "average_loss": ITERATIONS}
    losses, averages = [], []
    for is_captured in (False, True):
        if is_captured:
            recording()
        solver = solver_of(**fields, **{**ALL_TYPES[solver_type], **RATES["warm-up"], "base_lr": 0.01})
        solver.step(ITERATIONS)
        losses.append(solver._display.shown_losses)
        averages.append(solver.average.values[-2])  # type: ignore[union-attr]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    torch.testing.assert_close(*averages, rtol=1e-4, atol=1e-6)


# --- what is captured anew --------------------------------------------------------------------------------------------


def thawed(solver: Solver) -> None:
    """Run over the iteration in which a frozen layer begins to learn."""
    solver.step(ITERATIONS)


def edited(**fields: Any) -> Callable[[Solver], None]:
    """Run with some fields of the solver changed on the way."""

    def run(solver: Solver) -> None:
        solver.step(ITERATIONS // 2)
        for name, value in fields.items():
            setattr(solver.param, name, value)
        solver.step(ITERATIONS // 2)

    return run


def with_other_forms(solver: Solver) -> None:
    """Run on, as `solve` does, where the forms of layers may have been chosen anew."""
    solver.step(ITERATIONS // 2)
    solver._capturing.forget()
    solver.step(ITERATIONS // 2)


@pytest.mark.parametrize(
    ("run", "fields", "recorded"),
    [
        (thawed, {"freeze": [FreezeParameter(layer=["conv1"], until=8)]}, 2),
        (thawed, {"freeze": [FreezeParameter(layer=["conv1"], until=8)], "type": "RAdam", "momentum2": 0.999}, 3),
        (edited(base_lr=0.01, max_iter=100, display=7), {"lr_policy": "poly", "power": 0.5}, 1),
        (edited(momentum=0.5), {}, 2),
        (edited(clip_gradients=0.1, weight_decay=0.1), {}, 2),
        (edited(momentum2=0.9), {"type": "Adam", "momentum2": 0.999}, 2),
        (with_other_forms, {}, 2),
    ],
    ids=["thawing", "thawing, RAdam", "rates", "momentum", "clipping", "momentum2", "forms"],
)
def test_what_changes_the_operations_is_captured_anew(
    solver_of: Build,
    recording: Recording,
    run: Callable[[Solver], None],
    fields: dict[str, Any],
    recorded: int,
) -> None:
    """A layer that begins to learn, and numbers that a kernel was captured with; an edit of the rate is none of them.
    Either way the run is the same."""
    runs = []
    for kind in (FakeRecorder, Refusing):
        recorders, solver = recording(kind), solver_of(test_interval=0, snapshot=0, **fields)
        run(solver)
        runs.append(blobs(solver))
        assert kind is Refusing or recorders[0].recorded == recorded
    assert same(*runs)


def test_an_edit_of_the_solver_file_is_followed(
    write_solver: Callable[..., Any],
    edit: Callable[..., None],
    recording: Recording,
) -> None:
    """base_lr by hand reaches iterations that are captured already."""
    recorders, path = recording(), write_solver(test_interval=0, snapshot=0)
    solver = Solver(path)
    solver.step(8)
    edit(path, base_lr=0.0)
    weights = [param.tensor.detach().clone() for param in solver.net.params if param.lr_mult]
    solver.param.momentum = 0.0  # else the history goes on moving them
    solver.step(8)
    learnt = [param.tensor.detach() for param in solver.net.params if param.lr_mult]
    assert solver.rate == 0 and same(weights, learnt)
    assert recorders[0].recorded == 2
    solver.close()


def uninterrupted_and_resumed(build: Build, look: Callable[[Solver], T], **fields: Any) -> tuple[T, T]:
    """What a look at a run finds at its end, and what it finds at that of a run that resumed in its middle."""
    straight = build(**fields)
    straight.step(10)
    straight.snapshot()
    straight.step(10)
    expected = look(straight)
    solver = resumed(build, **fields)
    solver.step(10)
    return expected, look(solver)


def test_a_resumed_run_is_the_uninterrupted_one(solver_of: Build, recording: Recording) -> None:
    """Where a snapshot was taken from captured iterations, what follows is the same to the bit, dropout too."""
    recording()
    assert_identical(*uninterrupted_and_resumed(solver_of, everything, snapshot=0, test_interval=7, test_iter=[5]))


def test_restoring_captures_anew(trained: Any, solver_of: Build, recording: Recording) -> None:
    """A snapshot that is taken up in the middle of a run counts from there on."""
    _, state = trained
    recorders, runs = recording(), []
    solver = solver_of(test_interval=0, snapshot=0)
    for _ in range(2):
        solver.restore(state)
        solver.step(8)
        runs.append(blobs(solver))
    assert same(*runs) and recorders[0].recorded == 2


# --- tests ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("iterations", "replayed"), [([6], 6 + 3), ([], None)], ids=["batches", "a whole pass, its last batch short"]
)
def test_test_nets_are_captured(
    solver_of: Build, recording: Recording, iterations: list[int], replayed: int | None
) -> None:
    """Their means are those of the net itself, with averaged weights too, and with batches of another shape."""
    fields = {"test_iter": iterations, "ema_decay": 0.9, "test_ema": True, "snapshot": 0}
    fields["settings"] = ["data@TEST.data_param.batch_size=70"]
    runs = []
    for is_captured in (False, True):
        recorders = recording() if is_captured else []
        solver = solver_of(**fields)
        runs.append([])
        for _ in range(2):
            runs[-1].append(solver.test())
            with torch.no_grad():
                solver.net.params[0].tensor.mul_(0.9)
            solver.average.take()  # type: ignore[union-attr]
    assert runs[0] == runs[1] and runs[0][0] != runs[0][1]
    assert recorders[0].recorded == 1
    assert replayed in (None, recorders[0].replayed)


# --- around iterations ------------------------------------------------------------------------------------------------


def test_a_batch_that_cannot_be_had_costs_nothing(
    solver_of: Build, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a DataError in the second batch of an iteration the first one comes again, and no weight has moved."""
    recording()
    solver = solver_of(test_interval=0, snapshot=0, iter_size=2)
    solver.step(WARM_UP + 2)
    source, before = solver.net.sources[0][1], blobs(solver)
    position, real, calls = source.position, source.pending, iter(range(2))

    def failing() -> Any:
        if next(calls):
            raise DataError("gone")
        return real()

    with monkeypatch.context() as patch, pytest.raises(DataError):
        patch.setattr(source, "pending", failing)
        solver.step(1)
    assert source.position == position and same(before, blobs(solver))
    solver.step(1)
    assert source.position == position + 64


def test_what_is_shown_is_kept(solver_of: Build, recording: Recording) -> None:
    """The losses of captured iterations are not overwritten by later ones, and the outputs shown are the latest."""
    recording()
    solver = solver_of(test_interval=0, snapshot=0, average_loss=ITERATIONS, display=1)
    shown: list[float] = []
    real = solver._display.iteration

    def noted(iteration: int, rate: float, outputs: dict[str, Tensor], weights: Any) -> Any:
        shown.append(float(outputs["loss"]))
        return real(iteration, rate, outputs, weights)

    solver._display.iteration = noted  # type: ignore[method-assign, assignment]
    solver.step(ITERATIONS)
    assert shown == solver._display.shown_losses and len(set(shown)) == ITERATIONS


def test_a_loss_that_is_no_number_ends_a_captured_run(solver_of: Build, recording: Recording) -> None:
    """The update of that iteration is done by then, and nothing is saved of it."""
    recording()
    solver = solver_of(test_interval=0, snapshot=0, base_lr=50.0)
    with pytest.raises(DivergedError, match='the first that is not finite is blob 0 of layer "conv1"'):
        solver.step(100)
    assert WARM_UP < solver.iter < 100 and solver.last_snapshot is None


# --- on a GPU ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def on_a_gpu(write_solver: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Build]:
    """Build solvers on a GPU."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it products are refused in exact runs
    built = []

    def build(**fields: Any) -> Solver:
        built.append(Solver(write_solver(snapshot=0, solver_mode=None, **fields), device="cuda"))
        return built[-1]

    yield build
    for solver in built:
        solver.close()


@CUDA
@pytest.mark.parametrize("solver_type", ALL_TYPES)
def test_a_gpu_replays_the_same_run(on_a_gpu: Build, solver_type: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights, statistics and history after captured iterations are those of the same operations one by one."""
    fields = {"type": solver_type, "test_interval": 7, "exact": True, **ALL_TYPES[solver_type], **RATES["warm-up"]}
    runs, recorded, record = [], [], CudaRecorder.record

    def noted(recorder: CudaRecorder, function: Any) -> Any:
        recorded.append(record(recorder, function))
        return recorded[-1]

    for way in (noted, Refusing.record):
        monkeypatch.setattr(CudaRecorder, "record", way)
        solver = on_a_gpu(**fields)
        solver.step(ITERATIONS)
        runs.append(blobs(solver))
    assert recorded and same(*runs)


@CUDA
def test_a_gpu_is_not_waited_for(on_a_gpu: Build) -> None:
    """Captured iterations hold no operation that waits for the GPU."""
    solver = on_a_gpu(test_interval=0)
    solver.step(2 * WARM_UP)
    torch.cuda.set_sync_debug_mode("error")
    try:
        solver.step(10)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@CUDA
def test_a_gpu_goes_on_to_the_bit(on_a_gpu: Build) -> None:
    """A run that resumes draws the numbers for dropout that the uninterrupted one draws."""
    assert same(*uninterrupted_and_resumed(on_a_gpu, blobs, test_interval=0, exact=True))
