"""Every layer of a net is timed, in the passes that it has."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from netspec import Net, SpecError
from netspec.schema.netspec_pb2 import Precision
from netspec.timing import Rates, as_data, made_inputs, measure_rates, open_net, report, time_net
from netspec.timing.clock import Clock, clock_of
from netspec.timing.passes import LayerPasses
from netspec.timing.work import LayerWork, Work, survey

ZOO = Path(__file__).parents[2] / "zoo"
SHAPES = {"nin": (2, 3, 48, 48), "alexnet": (2, 3, 58, 58), "quickstart": (2, 1, 28, 28)}

MIXED = """
name: "mixed"
layer { name: "in" type: "Input" top: "x" top: "label" input_param { shape { dim: 4 dim: 6 } shape { dim: 4 } } }
layer { name: "fc1" type: "InnerProduct" bottom: "x" top: "a"
        inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "relu" type: "ReLU" bottom: "a" top: "a" }
layer { name: "split" type: "Split" bottom: "a" top: "b" top: "c" }
layer { name: "sum" type: "Eltwise" bottom: "b" bottom: "c" top: "s" }
layer { name: "drop" type: "Dropout" bottom: "s" top: "s" }
layer { name: "fc2" type: "InnerProduct" bottom: "s" top: "scores"
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "scores" bottom: "label" top: "loss" loss_weight: 2 }
layer { name: "accuracy" type: "Accuracy" bottom: "scores" bottom: "label" top: "accuracy" }
layer { name: "quiet" type: "Silence" bottom: "x" }
"""

SEQUENCE = """
layer { name: "in" type: "Input" top: "words" top: "cont" input_param { shape { dim: 5 dim: 2 } } }
layer { name: "embed" type: "Embed" bottom: "words" top: "e" embed_param { input_dim: 9 num_output: 4 } }
layer { name: "lstm" type: "LSTM" bottom: "e" bottom: "cont" top: "h" recurrent_param { num_output: 3 } }
layer { name: "loss" type: "Reduction" bottom: "h" top: "loss" loss_weight: 1 }
"""


def opened(text: str, folder: Path, **options: object):
    """A net from its text, with its summary."""
    path = folder / "net.prototxt"
    path.write_text(text)
    return open_net(path, **options)


def timed(net: Net, iterations: int = 2):
    """A timing of few iterations."""
    return time_net(net, made_inputs(net), iterations)


@pytest.fixture(autouse=True)
def rates(monkeypatch: pytest.MonkeyPatch) -> Rates:
    """The rates of an imagined machine."""
    rates = Rates(2e9, 1e9, 1e8)
    monkeypatch.setattr("netspec.timing.measure.measure_rates", lambda *_: rates)
    return rates


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
@pytest.mark.parametrize("name", SHAPES)
def test_every_layer_of_the_zoo_is_timed(name: str, phase: str) -> None:
    """Each layer takes time forward and backward, but for those that no gradient reaches."""
    net, summary = open_net(ZOO / f"{name}.prototxt", phase, shapes={"data": SHAPES[name]})
    timing = timed(net, 1)
    assert [layer.name for layer in timing.layers] == [layer.node.name for layer in net.compiled.layers]
    for layer in timing.layers:
        assert 0 < layer.forward.median < 100
        assert (layer.backward.median > 0) == (layer.type != "Accuracy"), layer.name
    assert not net.sources
    assert max(map(len, report(net, summary, timing).splitlines())) <= 120


@pytest.mark.parametrize("text", [MIXED, SEQUENCE], ids=["mixed", "sequence"])
@pytest.mark.parametrize("precision", ["FP32", "BF16"])
def test_the_cut_net_computes_what_the_net_does(text: str, precision: str, tmp_path: Path) -> None:
    """Layer by layer the gradients of all blobs are those of the whole net, shared and in-place blobs included."""
    net, _ = opened(text.replace('name: "drop" type: "Dropout"', 'name: "drop" type: "Sigmoid"'), tmp_path)
    net.precision = precision
    inputs = made_inputs(net)
    net.loss(net(**inputs)).backward()
    expected = [param.tensor.grad for param in net.params]
    clock = Clock()
    LayerPasses(net, inputs, clock).run()
    for param, grad in zip(net.params, expected, strict=True):
        torch.testing.assert_close(param.tensor.grad, grad)
    assert {key for key, _ in clock.seconds} == {layer.key for layer in net.compiled.layers} - {"quiet"}


def test_layers_without_a_gradient_have_no_backward_pass(tmp_path: Path) -> None:
    """Accuracy has no backward pass, nor what stands below all that learns; Silence is not run."""
    frozen = MIXED.replace('top: "a"\n', 'top: "a" param { lr_mult: 0 } param { lr_mult: 0 }\n')
    net, _ = opened(frozen, tmp_path)
    timing = timed(net)
    passes = {layer.name: (bool(layer.forward.seconds), bool(layer.backward.seconds)) for layer in timing.layers}
    without = dict.fromkeys(["fc1", "relu", "split", "sum", "drop", "accuracy"], (True, False))
    assert passes == {**dict.fromkeys(passes, (True, True)), **without, "quiet": (False, False)}


def test_a_net_without_a_loss_runs_forward_only(tmp_path: Path) -> None:
    """Where there is no loss there is nothing to go backward from, and the data says so."""
    text = MIXED[: MIXED.index('layer { name: "loss"')]
    net, summary = opened(text, tmp_path)
    data = as_data(net, summary, timed(net))
    assert data["backward_ms"] is None
    assert {layer["backward_ms"] for layer in data["layers"]} == {None}
    assert data["forward_backward_ms"] == data["forward_ms"] > 0
    assert "forward and backward" not in report(net, summary, timed(net))


def test_force_backward_reaches_the_inputs(tmp_path: Path) -> None:
    """Layers before all that learns have a backward pass where the net forces one."""
    text = 'force_backward: true\nlayer { name: "in" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }\n'
    text += 'layer { name: "exp" type: "Exp" bottom: "x" top: "y" loss_weight: 1 }'
    net, _ = opened(text, tmp_path)
    assert timed(net).layers[0].backward.seconds


def test_the_layers_together_take_about_as_long_as_the_net() -> None:
    """The sum over the layers is near the time of the whole net, where nothing else runs in between."""
    net, _ = open_net(ZOO / "nin.prototxt", shapes={"data": (2, 3, 48, 48)})
    timing = timed(net, 5)
    apart = sum(min(times.seconds) for layer in timing.layers for times in (layer.forward, layer.backward))
    assert 0.4 < apart / (min(timing.forward.seconds) + min(timing.backward.seconds)) < 2.5


def test_labels_and_words_are_in_range(tmp_path: Path) -> None:
    """What stands for labels and for words are whole numbers that the layers take."""
    net, _ = opened(MIXED.replace("dim: 4 dim: 6", "dim: 400 dim: 6").replace("dim: 4 }", "dim: 400 }"), tmp_path)
    assert set(made_inputs(net)["label"].tolist()) == {0, 1, 2}
    net, _ = opened(SEQUENCE.replace("dim: 5", "dim: 500"), tmp_path)
    assert set(made_inputs(net)["words"].flatten().tolist()) == set(range(9))


def test_the_work_of_a_layer(tmp_path: Path) -> None:
    """Bytes are those of bottoms, tops and blobs; backward each gradient costs the forward pass's multiply-adds."""
    net, _ = opened(MIXED, tmp_path)
    works = survey(net, made_inputs(net))
    x, a, scores, blobs1, blobs2 = 4 * 6, 4 * 5, 4 * 3, 6 * 5 + 5, 5 * 3 + 3
    assert works["fc1"] == LayerWork(Work(x * 5, 4 * (x + a + blobs1)), Work(x * 5, 4 * (a + blobs1 + x)))
    fc2 = LayerWork(Work(a * 3, 4 * (a + scores + blobs2)), Work(2 * a * 3, 4 * (scores + a + 2 * blobs2 + a)))
    assert works["fc2"] == fc2
    assert works["split"] == LayerWork(Work(), Work())
    assert works["relu"].forward == Work(0, 4 * 2 * a)


def test_the_least_time_is_that_of_the_limit_that_binds(rates: Rates) -> None:
    """Multiply-adds count two operations at the higher rate; moving counts where it takes longer."""
    assert rates.least_seconds(Work(10**9, 10)) == pytest.approx(1.0)
    assert rates.least_seconds(Work(10, 10**8)) == pytest.approx(1.0)
    assert rates.best(Rates(1e9, 4e9, 1e8)) == Rates(2e9, 4e9, 1e8)


def test_the_data_is_of_one_piece(tmp_path: Path) -> None:
    """Shares are of the layers' total, and of the least time that the rates allow."""
    net, summary = opened(MIXED, tmp_path)
    data = as_data(net, summary, timed(net))
    assert sum(layer["share_of_total"] for layer in data["layers"]) == pytest.approx(1)
    fc1 = next(layer for layer in data["layers"] if layer["name"] == "fc1")
    assert fc1["share_of_limit"] == pytest.approx(fc1["least_ms"] / (fc1["forward_ms"] + fc1["backward_ms"]))
    assert fc1["least_ms"] == pytest.approx(1000 * 4 * (24 + 20 + 35 + 20 + 35 + 24) / 1e8)
    assert fc1["bound_by"] == "copies"
    assert (data["batch"], data["iterations"], data["precision"]) == ([4], 2, "FP32")


@pytest.mark.parametrize("precision", ["FP32", "BF16"])
def test_rates_are_measured(precision: str) -> None:
    """A machine has rates, which are positive."""
    rates = measure_rates(torch.device("cpu"), getattr(Precision, precision))
    assert min(rates.product, rates.convolution, rates.copy) > 0


def test_a_caffemodel_is_timed_with_its_weights(tmp_path: Path) -> None:
    """The net in a .caffemodel is timed in TEST; where it has no shape for an input, --shape is asked for."""
    Net(ZOO / "quickstart.prototxt", "TEST", shapes={"data": (2, 1, 28, 28), "label": (2,)}).save(
        tmp_path / "w.caffemodel"
    )
    with pytest.raises(SpecError) as caught:
        open_net(tmp_path / "w.caffemodel")
    assert caught.value.hint == "--shape NAME=N,C,H,W"
    net, summary = open_net(tmp_path / "w.caffemodel", shapes={"data": (2, 1, 28, 28)})
    assert summary.title == "quickstart, phase TEST"
    assert timed(net).layers[-1].type == "Softmax"


def test_settings_change_layers(tmp_path: Path) -> None:
    """A setting is put over the text before the net is built."""
    net, _ = opened(MIXED, tmp_path, settings=["fc1.inner_product_param.num_output=7"])
    assert net.blob_shapes["a"] == (4, 7)


def test_a_net_that_writes_is_refused(tmp_path: Path) -> None:
    """Random numbers do not go into the file of an HDF5Output layer."""
    text = (
        MIXED
        + """layer { name: "out" type: "HDF5Output" bottom: "x" bottom: "label"
                      hdf5_output_param { file_name: "mine.h5" } }"""
    )
    with pytest.raises(SpecError, match=r'layer "out": random numbers would go into "mine\.h5"'):
        opened(text, tmp_path)


CODE = """
import caffe

class Seen(caffe.Layer):
    def setup(self, bottom, top): pass
    def reshape(self, bottom, top): pass
    def forward(self, bottom, top): pass
    def backward(self, top, propagate_down, bottom): pass
"""


def test_python_layers_are_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer that runs code, and makes no top, has a forward pass."""
    (tmp_path / "seen_by_test.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    text = (
        MIXED
        + """layer { name: "py" type: "Python" bottom: "scores"
                      python_param { module: "seen_by_test" layer: "Seen" } }"""
    )
    net, _ = opened(text, tmp_path, allow_python=True)
    last = timed(net).layers[-1]
    assert (last.type, len(last.forward.seconds), len(last.backward.seconds)) == ("Python", 2, 0)


class _Event:
    """A CUDA event of a device that needs 5 ms for everything."""

    recorded = 0

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing

    def record(self, stream: object) -> None:
        _Event.recorded += 5
        self.at = _Event.recorded

    def elapsed_time(self, other: _Event) -> float:
        return other.at - self.at


def test_events_time_what_runs_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """On CUDA the times are between events, in seconds, and are there once the device has done its work."""
    waited = []
    monkeypatch.setattr(torch.cuda, "Event", _Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: device)
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    clock = clock_of(torch.device("cuda"))
    for _ in range(2):
        clock.start()
        clock.stop("a")
    assert not clock.seconds
    clock.settle()
    assert waited
    assert clock.seconds == {"a": pytest.approx(0.010)}
