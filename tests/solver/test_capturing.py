"""What keeps a run from being captured."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fake_recorder import FakeRecorder, Refusing, capture_by
from google.protobuf import text_format
from torch import Tensor
from written import same

from netspec import Solver, SpecError
from netspec.layers import LAYER_TYPES, Layer
from netspec.schema.netspec_pb2 import Capture, LayerParameter, NetParameter, Precision
from netspec.solver import layout
from netspec.solver.capturing import reason_against
from netspec.solver.recorder import CpuRecorder

Build = Callable[..., Solver]
Recording = Callable[..., list[FakeRecorder]]
HERE = Path(__file__).parent
WARM_UP = FakeRecorder.warm_ups
RECORDINGS = HERE.parent / "golden" / "layers"

LAYERS = {
    "HDF5Output": """layer { name: "own" type: "HDF5Output" bottom: "data" bottom: "label"
        hdf5_output_param { file_name: "${OUT}" } }""",
    "Filter": 'layer { name: "own" type: "Filter" bottom: "label" bottom: "label" top: "some" }',
    "LSTM": """layer { name: "cut" type: "Reshape" bottom: "data" top: "cut"
          reshape_param { shape { dim: 8 dim: 4 dim: -1 } } }
        layer { name: "cont" type: "Reshape" bottom: "label" top: "cont" reshape_param { shape { dim: 8 dim: 4 } } }
        layer { name: "own" type: "LSTM" bottom: "cut" bottom: "cont" top: "states"
          recurrent_param { num_output: 2 weight_filler { type: "xavier" } } }""",
    "Python": """layer { name: "own" type: "Python" bottom: "label" top: "same"
        python_param { module: "code_in_a_net" layer: "Same" } }""",
}
"""Layers beside those of the digits."""

REASONS: dict[str, tuple[dict[str, Any], str]] = {
    "debug_info": ({"debug_info": True}, "debug_info looks at every blob of a pass"),
    "snapshot_diff": ({"snapshot_diff": True}, "snapshot_diff needs the gradients of the iteration before it"),
    "FP16": (
        {"precision": Precision.FP16},
        "in FP16 every iteration waits to see whether its gradients overflow",
    ),
    "HDF5Output": ({}, 'layer "own" writes a file'),
    "Filter": ({}, 'layer "own" has tops whose size depends on what they hold'),
    "LSTM": ({}, 'layer "own" carries its states from one pass to the next; with expose_hidden it does not'),
    "Python": ({}, 'layer "own" runs code of its own'),
}
"""What keeps a run from being captured, and what is said of it."""


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch) -> Recording:
    """Let solvers from now on be captured; the recorders that they make."""
    return partial(capture_by, monkeypatch)


@pytest.fixture
def opened(
    write_solver: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Solver]]:
    """Build the solver of the digits with one more layer."""
    monkeypatch.syspath_prepend(str(tmp_path))
    same_class = "class Same(torch.nn.Module):\n    def forward(self, x):\n        return x.clone()\n"
    (tmp_path / "code_in_a_net.py").write_text(f"import torch\n{same_class}")
    net, built = tmp_path / "net.prototxt", []

    def build(layer: str = "", **fields: Any) -> Solver:
        net.write_text((HERE / "digits.prototxt").read_text() + layer.replace("${OUT}", str(tmp_path / "out.h5")))
        path = write_solver(net=str(net), snapshot=0, **{"test_interval": 0, **fields})
        built.append(Solver(path, allow_python=True))
        return built[-1]

    yield build
    for solver in built:
        solver.close()


@pytest.mark.parametrize("case", REASONS)
def test_what_cannot_be_captured_runs_as_it_is(
    opened: Build, recording: Recording, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One line says why, and the run goes on without."""
    recorders, (fields, reason) = recording(), REASONS[case]
    solver = opened(LAYERS.get(case, ""), **fields)
    solver.step(WARM_UP + 2)
    assert [line for line in caplog.messages if "capture" in line] == [f"Not captured: {reason}"]
    assert not any(recorder.warmed_up or recorder.recorded for recorder in recorders)
    assert solver.iter == WARM_UP + 2


@pytest.mark.parametrize("case", REASONS)
def test_who_insists_is_refused(opened: Build, recording: Recording, case: str) -> None:
    """capture: ON is an error there, with the reason."""
    fields, reason = REASONS[case]
    recording()
    with pytest.raises(SpecError, match="capture: ON does not work here: ") as raised:
        opened(LAYERS.get(case, ""), capture=Capture.ON, **fields)
    assert reason in str(raised.value)


@pytest.mark.parametrize("path", sorted(RECORDINGS.glob("*.npz")), ids=lambda path: path.stem)
def test_every_other_layer_type_can_be_captured(path: Path) -> None:
    """No forward or backward of a layer reads the value of a tensor, which a graph cannot, or does something else the
    next time; but for Filter, and for LSTM and RNN that carry states."""
    for param, built, bottoms in recorded_cases(path):
        carries = path.stem in ("LSTM", "RNN") and not param.recurrent_param.expose_hidden
        wrong = pytest.raises((RuntimeError, AssertionError), match=r"not permitted|not what was recorded")
        with wrong if path.stem == "Filter" or carries else nullcontext():
            FakeRecorder().record(partial(both_passes, built, bottoms))


@pytest.mark.parametrize("path", sorted(RECORDINGS.glob("*.npz")), ids=lambda path: path.stem)
def test_every_layer_type_is_replayed_on_a_cpu(path: Path) -> None:
    """On other bottoms too its operations make the tops, gradients and statistics that the layer makes, to the bit;
    but for those of a Filter, which are as many as it finds."""
    for param, built, bottoms in recorded_cases(path):
        if built.carries_state:
            continue
        on_cpu, run = CpuRecorder(), partial(both_passes, built, bottoms)
        on_cpu.warm_up(run)
        recording = on_cpu.record(run)
        if param.type == "Filter":
            assert recording.reason == "aten::nonzero looks at values"
            continue
        assert recording.replay is not None, recording.reason
        if bottoms and param.type != "BatchReindex":
            bottoms[0].mul_(0.5)
        before = [blob.clone() for blob in built.blobs()]
        torch.manual_seed(1)
        expected = [x.clone() for x in (*run(), *built.blobs())]
        for blob, value in zip(built.blobs(), before, strict=True):
            blob.data.copy_(value)
        torch.manual_seed(1)
        assert same(expected, [*recording.replay(), *built.blobs()])


def recorded_cases(path: Path) -> Iterator[tuple[LayerParameter, Layer, list[Tensor]]]:
    """The layers of a recording of Caffe's with their bottoms."""
    arrays = dict(np.load(path))
    for case in dict.fromkeys(key.split("/")[0] for key in arrays):
        param = text_format.Parse(str(arrays[f"{case}/prototxt"]), NetParameter()).layer[0]
        bottoms = [torch.from_numpy(arrays[f"{case}/bottom/{name}"]) for name in param.bottom]
        built = LAYER_TYPES[param.type].build(param, [tuple(x.shape) for x in bottoms]).to_empty(device="cpu")
        for index, blob in enumerate(built.blobs()):
            blob.data.copy_(torch.from_numpy(arrays[f"{case}/blob/{index}"]))
        yield param, built.train(str(arrays[f"{case}/phase"]) == "TRAIN"), bottoms


def both_passes(built: Layer, bottoms: list[Tensor]) -> list[Tensor]:
    """The tops of a layer, after their sum has gone backward, and the gradients."""
    built.zero_grad()
    given = [x.detach().requires_grad_() for x in bottoms]
    tops = built(*given)
    tops = tops if isinstance(tops, tuple) else (tops,)
    if learning := [top.sum() for top in tops if top.requires_grad]:
        torch.autograd.backward(learning)
    gradients = [x.grad for x in (*given, *built.parameters()) if x.grad is not None]
    return [*(top.detach() for top in tops), *gradients]


@pytest.mark.parametrize("case", ["HDF5Output", "LSTM", "Python"])
def test_no_pass_is_tried_where_it_would_count(opened: Build, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    """The memory format of such a net is not measured: a pass more would write, move on states, or run code."""
    monkeypatch.setattr(layout, "_measure", lambda net: {"CHANNELS_LAST": 2.0, "CONTIGUOUS": 1.0})
    assert layout.faster_format(opened().net) == "CONTIGUOUS"
    assert layout.faster_format(opened(LAYERS[case]).net) == "CHANNELS_LAST"


def test_layers_with_hooks_are_not_captured(
    solver_of: Build, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a hook does in Python could not be replayed."""
    solver = solver_of(test_interval=0)
    assert reason_against(solver.param, solver.net) == ""
    solver.net.layers["ip"].register_forward_hook(lambda *_: None)
    assert reason_against(solver.param, solver.net) == 'layer "ip" has hooks'


def test_a_test_net_alone_may_be_left_out(
    opened: Build, recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    """A test net that writes a file runs as it is, while iterations are captured."""
    recorders = recording()
    solver = opened(LAYERS["HDF5Output"].replace("type:", "include { phase: TEST } type:"), test_interval=2)
    solver.step(WARM_UP + 2)
    assert caplog.messages.count('Not captured: layer "own" writes a file') == 1
    assert recorders[0].replayed == 2


def test_captured_iterations_hold_the_passes(solver_of: Build, recording: Recording) -> None:
    """Where iterations are captured as a whole, a long run does not capture its passes once more."""
    recorders, solver = recording(), solver_of(test_interval=0)
    solver.tune(1000)
    solver.step(WARM_UP + 2)
    assert (recorders[0].recorded, recorders[0].replayed) == (1, 2)
    assert solver._captured_passes is None


def test_a_failure_to_record_is_told_once(
    solver_of: Build, recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    """Where a recording fails after all, the batch that it was for is not lost, and nobody tries again."""
    recording(Refusing)
    solver = solver_of(test_interval=0)
    solver.step(8)
    assert caplog.messages.count("Not captured: nothing is recorded here") == 1
    assert solver.net.sources[0][1].position == 8 * 32


def test_a_failure_to_record_ends_a_run_that_insists(solver_of: Build, recording: Recording) -> None:
    """With capture: ON it is an error."""
    solver = solver_of(test_interval=0)
    recording(Refusing)
    monkey = solver_of(test_interval=0)
    monkey.param.capture = Capture.ON
    with pytest.raises(SpecError, match="capture: ON does not work here: nothing is recorded here"):
        monkey.step(8)
    assert solver.iter == 0 and monkey.iter == WARM_UP
