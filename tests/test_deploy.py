"""The deploy view of a net, from a weights file alone and from a train/test text."""

import inspect
from pathlib import Path

import numpy as np
import pytest
import torch
from google.protobuf import text_format

from netspec import Net, SnapshotError, SpecError, parse_net, to_text
from netspec.deploy import LEARNING, deploy_inputs, deploy_net, deploy_view
from netspec.graph import net_state
from netspec.layers import LAYER_TYPES, Layer
from netspec.schema.netspec_pb2 import LayerParameter, NetParameter
from netspec.spec import parse
from netspec.upgrade import net_document

TRAINING = Path(__file__).parent / "golden" / "training"

DATA = 'layer { name: "data" type: "Data" top: "data" top: "label" transform_param { crop_size: 8 mirror: true } }\n'
CONV = (
    'layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"'
    " convolution_param { num_output: 4 kernel_size: 3 group: 2 bias_term: false }"
    " blobs { shape { dim: [4, 3, 3, 3] } } }\n"
)
LOSS = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "conv" bottom: "label" top: "loss" }\n'


def write(tmp_path: Path, text: str, *more: bytes) -> Path:
    """A .caffemodel of a net's text whose blobs say their shapes; their values are 0.1."""
    net = text_format.Parse(text, NetParameter())
    for layer in [*net.layer, *net.layers, *(older.layer for older in net.layers)]:
        for blob in layer.blobs:
            shape = blob.shape.dim or (blob.num, blob.channels, blob.height, blob.width)
            blob.data.extend([0.1] * int(np.prod(shape)))
    path = tmp_path / "x.caffemodel"
    path.write_bytes(net.SerializeToString() + b"".join(more))
    return path


def layers(net: Net) -> list[str]:
    return [f"{node.param.type} {', '.join(node.bottoms)} -> {', '.join(node.tops)}" for node in net.graph.nodes]


# --- the recorded run ------------------------------------------------------------------------------------------------


def test_caffes_file_alone_gives_caffes_scores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A net from the file that Caffe wrote in training has Caffe's scores of every test image, and their softmax."""
    monkeypatch.setenv("NETSPEC_CACHE", str(tmp_path))
    net = Net(TRAINING / "run_iter_100.caffemodel", shapes={"data": (1, 1, 8, 8)})
    ((_, source),) = Net(TRAINING / "net.prototxt").sources
    with torch.no_grad():
        out = [net(data=data, blobs=["ip", "prob"]) for data, _ in source.once()]
    scores, prob = (torch.cat([tops[name] for tops in out]) for name in ("ip", "prob"))
    expected = np.load(TRAINING / "curve.npz")["scores"]
    np.testing.assert_allclose(scores.numpy(), expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    torch.testing.assert_close(prob, scores.softmax(1))
    assert (net.outputs, net.loss_weights) == (("prob",), {})


def test_the_definition_is_a_net_file(tmp_path: Path) -> None:
    """Written as text and read again, the net computes the same; nothing in it is Caffe's own or of a phase."""
    net = Net(TRAINING / "run_iter_100.caffemodel", shapes={"data": (1, 1, 8, 8)})
    text = to_text(net.graph.document.message)
    assert not any(word in text for word in ("_split", "phase", "label", "blobs {"))
    (tmp_path / "deploy.prototxt").write_text(text)
    again = Net(tmp_path / "deploy.prototxt", weights=TRAINING / "run_iter_100.caffemodel")
    data = torch.randn(1, 1, 8, 8)
    assert torch.equal(again(data=data)["prob"], net(data=data)["prob"])


def test_other_weights_into_the_net_of_a_file() -> None:
    """`weights` may name another file than the one that has the net."""
    net = Net(TRAINING / "run_iter_100.caffemodel", weights=TRAINING / "init.caffemodel", shapes={"data": (1, 1, 8, 8)})
    init = Net(TRAINING / "init.caffemodel", shapes={"data": (1, 1, 8, 8)})
    assert torch.equal(net.layer_params["ip"][0], init.layer_params["ip"][0])


# --- what goes and what comes ----------------------------------------------------------------------------------------

NETS = {
    "a loss": (LOSS, ["Softmax conv -> prob"]),
    "a loss that gives its softmax": (LOSS.replace('top: "loss"', 'top: "loss" top: "p"'), ["Softmax conv -> p"]),
    "a loss beside its softmax": (
        LOSS + 'layer { name: "s" type: "Softmax" bottom: "conv" top: "s" }',
        ["Softmax conv -> s"],
    ),
    "two losses": (
        'layer { name: "r" type: "TanH" bottom: "conv" top: "r" }\n'
        + LOSS
        + LOSS.replace('bottom: "conv"', 'bottom: "r"').replace('"loss"', '"loss2"'),
        ["TanH conv -> r", "Softmax conv -> prob", "Softmax r -> r_prob"],
    ),
    "a loss of probabilities": (
        LOSS.replace("SoftmaxWithLoss", "SigmoidCrossEntropyLoss"),
        ["Sigmoid conv -> prob"],
    ),
    "a loss with a matrix": (LOSS.replace("SoftmaxWithLoss", "InfogainLoss"), ["Softmax conv -> prob"]),
    "an auxiliary head": (
        'layer { name: "r" type: "TanH" bottom: "conv" top: "r" }\n'
        'layer { name: "r2" type: "TanH" bottom: "r" top: "r" }\n'
        + LOSS
        + LOSS.replace('bottom: "conv"', 'loss_weight: 0.3 bottom: "r"').replace('"loss"', '"loss2"')
        + 'layer { name: "a" type: "Accuracy" bottom: "r" bottom: "label" top: "a" }',
        ["Softmax conv -> prob"],
    ),
    "a lesser loss of what the other one's softmax is": (
        'layer { name: "s" type: "Sigmoid" bottom: "conv" top: "s" }\n'
        + LOSS.replace("SoftmaxWithLoss", "SigmoidCrossEntropyLoss")
        + LOSS.replace('bottom: "conv"', 'loss_weight: 0 bottom: "s"')
        .replace("SoftmaxWithLoss", "EuclideanLoss")
        .replace('"loss"', '"loss2"'),
        ["Sigmoid conv -> s"],
    ),
    "a layer that counts toward the loss": (
        'layer { name: "r" type: "Reduction" bottom: "conv" top: "r" loss_weight: 0.1 }\n' + LOSS,
        ["Softmax conv -> prob"],
    ),
    "what is silenced": (
        'layer { name: "r" type: "TanH" bottom: "conv" top: "r" }'
        ' layer { name: "h" type: "Silence" bottom: "r" }\n' + LOSS,
        ["Softmax conv -> prob"],
    ),
    "a loss with no function in it": (LOSS.replace("SoftmaxWithLoss", "EuclideanLoss"), []),
    "a fork's loss": (LOSS.replace("SoftmaxWithLoss", "FocalLoss"), []),
    "what reads a loss": (
        LOSS.replace("SoftmaxWithLoss", "EuclideanLoss") + 'layer { name: "p" type: "Power" bottom: "loss" top: "p" } '
        'layer { name: "q" type: "Power" bottom: "p" top: "q" }',
        [],
    ),
    "accuracy in training": (
        'layer { name: "conv_conv_0_split" type: "Split" bottom: "conv" top: "conv_conv_0_split_0"'
        ' top: "conv_conv_0_split_1" } layer { name: "label_data_1_split" type: "Split" bottom: "label"'
        ' top: "label_data_1_split_0" top: "label_data_1_split_1" }'
        + LOSS.replace('"conv"', '"conv_conv_0_split_0"').replace('"label"', '"label_data_1_split_0"')
        + 'layer { name: "a" type: "Accuracy" bottom: "conv_conv_0_split_1" bottom: "label_data_1_split_1" top: "a" }',
        ["Softmax conv -> prob"],
    ),
    "prepared labels": (
        'layer { name: "s" type: "Slice" bottom: "label" top: "l1" top: "l2" } '
        'layer { name: "h" type: "Silence" bottom: "l2" }' + LOSS.replace('"label"', '"l1"'),
        ["Softmax conv -> prob"],
    ),
    "a Split that a user wrote": (
        'layer { name: "s" type: "Split" bottom: "conv" top: "a" top: "b" }',
        ["Split conv -> a, b"],
    ),
}


@pytest.mark.parametrize("form", NETS)
def test_what_is_left_of_training(tmp_path: Path, form: str) -> None:
    """Data, losses and what only they need go; the function inside a loss stays."""
    text, expected = NETS[form]
    net = Net(write(tmp_path, DATA + CONV + text))
    assert layers(net) == ["Input  -> data", "Convolution data -> conv", *expected]
    assert net.blob_shapes["data"] == (1, 6, 8, 8)
    assert net.layer_params["conv"][0].eq(0.1).all()


@pytest.mark.parametrize(("field", "kept"), [("false", "{ }"), ("true", "{ use_global_stats: true }")])
def test_batch_norm_takes_what_it_gathered(tmp_path: Path, field: str, kept: str) -> None:
    """A net that normalised each batch by itself in training does not do so any more."""
    message = f"batch_norm_param {{ use_global_stats: {field} }}"
    norm = f'layer {{ name: "n" type: "BatchNorm" bottom: "conv" top: "n" {message} }}'
    (layer,) = (each for each in deploy_net(write(tmp_path, DATA + CONV + norm), {}).message.layer if each.name == "n")
    assert layer.batch_norm_param == text_format.Parse(f"batch_norm_param {kept}", LayerParameter()).batch_norm_param


def test_the_softmax_keeps_its_axis(tmp_path: Path) -> None:
    """A softmax is over the axis that the loss took."""
    net = deploy_net(write(tmp_path, DATA + CONV + LOSS.replace("top:", "softmax_param { axis: 2 } top:")), {})
    assert net.message.layer[-1].softmax_param.axis == 2


def instead(layer_type: str, fields: str) -> str:
    """The data layer as one of another type, with other fields in place of its transform."""
    return DATA.replace('"Data"', f'"{layer_type}"').replace("transform_param { crop_size: 8 mirror: true }", fields)


SOURCES = {
    "of every phase": DATA.replace("transform", "include { phase: TRAIN } transform")
    + DATA.replace("transform", "include { phase: TEST } transform"),
    "of a fork": DATA.replace('"Data"', '"AnnotatedData"'),
    "in Python": DATA.replace('"Data"', '"Python"'),
    "in the text": instead("Input", "input_param { shape { dim: [1, 6, 8, 8] } shape { dim: 1 } }"),
    "of no file": instead("DummyData", "dummy_data_param { shape { dim: [1, 6, 8, 8] } shape { dim: 1 } }"),
    "of no file, in the old form": instead(
        "DummyData", "dummy_data_param { num: 1 channels: 6 channels: 1 height: 8 height: 1 width: 8 width: 1 }"
    ),
    "of no file, one size for all": instead("DummyData", "dummy_data_param { num: 1 channels: 6 height: 8 width: 8 }"),
    "in memory": instead("MemoryData", "memory_data_param { batch_size: 5 channels: 6 height: 8 width: 8 }"),
    "of image files": instead("ImageData", "image_data_param { new_height: 8 new_width: 8 }"),
    "an old input": 'input: "data" input: "label" input_dim: [1, 6, 8, 8, 1, 1, 1, 1]',
}


@pytest.mark.parametrize("form", SOURCES)
def test_data_layers(tmp_path: Path, form: str) -> None:
    """Whatever brought the data, an Input takes its place."""
    net = Net(write(tmp_path, SOURCES[form] + CONV + LOSS))
    assert net.blob_shapes == {"data": (1, 6, 8, 8), "conv": (1, 4, 6, 6), "prob": (1, 4, 6, 6)}


@pytest.mark.parametrize("source", [DATA.replace("crop_size: 8", ""), 'input: "data" input: "label"', ""])
def test_a_shape_that_is_not_in_the_file(tmp_path: Path, source: str) -> None:
    """Where the file does not tell how large the images are, the caller must; what they say wins."""
    path = write(tmp_path, source + CONV + LOSS)
    with pytest.raises(SpecError, match=r'x\.caffemodel:1:1: the shape of the input "data" is not in the file'):
        Net(path)
    assert Net(path, shapes={"data": (2, 6, 5, 9)}).blob_shapes["conv"] == (2, 4, 3, 7)


# --- old files, files of forks, damaged files ------------------------------------------------------------------------

V1 = """
name: "old"
layers { name: "d" type: DATA top: "data" top: "label" data_param { crop_size: 8 batch_size: 64 } }
layers { name: "conv" type: CONVOLUTION bottom: "data" top: "conv" blobs_lr: 1 blobs_lr: 2
  convolution_param { num_output: 4 kernel_size: 3 }
  blobs { num: 4 channels: 3 height: 3 width: 3 } blobs { num: 1 channels: 1 height: 1 width: 4 } }
layers { name: "loss" type: SOFTMAX_LOSS bottom: "conv" bottom: "label" }
"""
V0 = """
name: "oldest"
layers { layer { name: "d" type: "data" cropsize: 6 } top: "data" top: "label" }
layers { layer { name: "pad" type: "padding" pad: 1 } bottom: "data" top: "pad" }
layers { layer { name: "conv" type: "conv" num_output: 4 kernelsize: 3 blobs { num: 4 channels: 3 height: 3 width: 3 }
  blobs { num: 1 channels: 1 height: 1 width: 4 } } bottom: "pad" top: "conv" }
layers { layer { name: "loss" type: "softmax_loss" } bottom: "conv" bottom: "label" }
"""


@pytest.mark.parametrize(("text", "size"), [(V1, 8), (V0, 6)])
def test_files_of_older_dialects(tmp_path: Path, text: str, size: int) -> None:
    """A file whose layers are of an older dialect is a net as well."""
    net = Net(write(tmp_path, text))
    assert layers(net) == ["Input  -> data", "Convolution data -> conv", "Softmax conv -> prob"]
    assert net.blob_shapes == {"data": (1, 3, size, size), "conv": (1, 4, 6, 6), "prob": (1, 4, 6, 6)}
    assert all(blob.eq(0.1).all() for blob in net.layer_params["conv"])


def field(number: int, content: bytes) -> bytes:
    """A field of protobuf's wire format that holds fewer than 128 bytes."""
    tag = number << 3 | 2
    return (bytes([tag]) if tag < 128 else bytes([tag & 127 | 128, tag >> 7])) + bytes([len(content)]) + content


def of_fork(kind: str, *fields: bytes, bottom: str = "conv") -> bytes:
    layer = LayerParameter(name="fork", type=kind, bottom=[bottom], top=["fork"])
    return field(100, layer.SerializeToString() + b"".join(fields))


@pytest.mark.parametrize("number", [137, 144, 202])
def test_the_message_of_a_forks_type(tmp_path: Path, number: int) -> None:
    """What a fork's layer type reads is found under whatever number, one that means something else in Caffe too."""
    path = write(tmp_path, DATA + CONV, of_fork("Permute", field(number, b"\x08\x00\x08\x02\x08\x03\x08\x01")))
    assert Net(path).blob_shapes["fork"] == (1, 6, 6, 4)


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        (of_fork("ReLU", field(123, b"\xff")), r'layer "fork": its relu_param has a form that only its fork'),
        (of_fork("ReLU", field(6, b"\xff")), r'layer "fork": its param has a form'),
        (of_fork("Permute", field(202, b"\xff")), r'layer "fork": its permute_param has a form'),
        (of_fork("Permute", field(202, b""), field(203, b"")), r'layer "fork": its permute_param has a form'),
    ],
)
def test_what_only_a_fork_can_read(tmp_path: Path, layer: bytes, reason: str) -> None:
    """A layer that cannot be read is refused by name, and never built without what it says."""
    with pytest.raises(SnapshotError, match=rf"x\.caffemodel: {reason}"):
        Net(write(tmp_path, DATA + CONV, layer))


def test_what_goes_need_not_be_read(tmp_path: Path) -> None:
    """A fork's loss and its message do not matter, nor do fields that nobody knows."""
    loss = of_fork("MultiBoxLoss", field(101, b"\xff"), field(210, b"\xff"))
    net = Net(write(tmp_path, DATA + CONV, loss, field(200, b"x")))
    assert layers(net) == ["Input  -> data", "Convolution data -> conv"]


def test_a_forks_number_of_an_old_type(tmp_path: Path) -> None:
    """A V1 layer of a type that only a fork has a number for is refused."""
    path = write(tmp_path, V1, field(2, b"\x1a\x01x\x12\x04conv\x22\x01x\x28\x63"))
    with pytest.raises(SnapshotError, match=r'layer "x": its type 99 has a form that only its fork'):
        Net(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no layer with weights is in it"),
        (b"\xff" * 9, "this is no caffemodel, or it is damaged"),
        (field(100, b"\x0a\x01\xff"), "this is no caffemodel, or it is damaged"),
        (field(100, b"\x12\x01\xff"), "this is no caffemodel, or it is damaged"),
    ],
)
def test_damaged_files(tmp_path: Path, content: bytes, reason: str) -> None:
    """A file without a net is refused with its path."""
    (tmp_path / "x.caffemodel").write_bytes(content)
    with pytest.raises(SnapshotError, match=rf"x\.caffemodel: {reason}"):
        Net(tmp_path / "x.caffemodel")


def test_a_net_that_saved_itself(tmp_path: Path) -> None:
    """What netspec saves is a net as well, the train net and its deploy net."""
    text = """
      layer { name: "data" type: "Input" top: "data" top: "label"
        input_param { shape { dim: [3, 6, 3, 3] } shape { dim: 3 } } }
      layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } } }
    """
    train = Net(parse_net(text + LOSS), "TRAIN")
    train.save(tmp_path / "train.caffemodel")
    first = Net(tmp_path / "train.caffemodel")
    first.save(tmp_path / "deploy.caffemodel")
    second = Net(tmp_path / "deploy.caffemodel")
    assert layers(first) == ["Input  -> data", "Convolution data -> conv", "Softmax conv -> prob"]
    assert to_text(first.graph.document.message) == to_text(second.graph.document.message)
    assert torch.equal(second.layer_params["conv"][0], train.layer_params["conv"][0])


# --- of a text -------------------------------------------------------------------------------------------------------

PLAIN = CONV.partition(" blobs")[0] + " }\n"
"""As the text of a train/test net has it."""


def view(text: str, phase: str = "TEST", shapes: dict[str, tuple[int, ...]] | None = None) -> Net:
    """The deploy view of a net's text, built."""
    return Net(deploy_view(net_document(parse(text, NetParameter)), net_state(phase), shapes or {}))


def test_a_text_by_the_same_rules() -> None:
    """Of each of the nets the text has the view that its .caffemodel has, without any weights."""
    for text, expected in NETS.values():
        if "Split" in text:  # two layers would make one blob where Caffe's own are not taken as such
            continue
        net = view(DATA + PLAIN + text, shapes={"data": (3, 6, 8, 8)})
        assert layers(net) == ["Input  -> data", "Convolution data -> conv", *expected]
        assert net.blob_shapes["data"] == (3, 6, 8, 8)


def test_caffes_scores_of_a_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The view of the recorded test net, as text, has Caffe's scores with Caffe's weights."""
    monkeypatch.setenv("NETSPEC_CACHE", str(tmp_path))
    document = net_document(TRAINING / "net.prototxt")
    text = to_text(deploy_view(document, net_state("TEST"), {"data": (33, 1, 8, 8)}).message)
    assert not any(word in text for word in ("phase", "label", "loss", "Accuracy"))
    (tmp_path / "deploy.prototxt").write_text(text)
    net = Net(tmp_path / "deploy.prototxt", weights=TRAINING / "run_iter_100.caffemodel")
    ((_, source),) = Net(TRAINING / "net.prototxt").sources
    with torch.no_grad():
        scores = torch.cat([net(data=data, blobs=["ip"])["ip"] for data, _ in source.once()]).numpy()
    expected = np.load(TRAINING / "curve.npz")["scores"]
    np.testing.assert_allclose(scores, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_a_view_of_a_view() -> None:
    """A deploy net stays what it is, and its Input layer keeps its shape."""
    first = view(DATA + PLAIN + LOSS, shapes={"data": (2, 6, 8, 8)})
    text = to_text(first.graph.document.message)
    assert to_text(view(text).graph.document.message) == text


def test_only_the_layers_of_the_phase() -> None:
    """Rules count: what is of the other phase is not in the view, and no rule is."""
    extra = 'layer { name: "t" type: "TanH" bottom: "conv" top: "t" include { phase: TRAIN } }\n'
    assert "TanH" not in str(layers(view(DATA + PLAIN + LOSS + extra, shapes={"data": (1, 6, 8, 8)})))
    net = view(DATA + PLAIN + LOSS + extra, "TRAIN", {"data": (1, 6, 8, 8)})
    assert layers(net)[2:] == ["Softmax conv -> prob", "TanH conv -> t"]
    assert not any(node.param.include for node in net.graph.nodes)


@pytest.mark.parametrize(
    ("fields", "channels"),
    [
        ("mean_value: [1, 2, 3, 4, 5, 6]", 6),
        ("force_color: true", 3),
        ("force_gray: true", 1),
    ],
)
def test_shapes_from_the_text(fields: str, channels: int) -> None:
    """Where the data layer tells size and channels, the view needs no data."""
    text = DATA.replace("mirror: true", fields) + PLAIN.replace("group: 2", "") + LOSS
    assert view(text).blob_shapes["data"] == (1, channels, 8, 8)


def test_a_shape_that_is_not_in_the_text() -> None:
    """Where the text does not tell it, the message says how to give it."""
    with pytest.raises(SpecError, match=r'the shape of the input "data" is not in the file.*\n--shape data=1,3,64,64'):
        view(DATA + PLAIN + LOSS)


def test_errors_show_the_old_text() -> None:
    """A mistake in a layer of the view is shown where the layer stands in the train/test text, of any age."""
    with pytest.raises(SpecError, match=r'^<text>:2:\d+: layer "conv": '):
        view(DATA + PLAIN + LOSS, shapes={"data": (1, 5, 8, 8)})
    with pytest.raises(SpecError, match=r'^<text>:5:\d+: layer "conv": '):
        view(V1, shapes={"data": (1, 3, 1, 1)})


@pytest.mark.parametrize("text", [DATA, DATA + LOSS.replace('"conv"', '"data"')])
def test_nothing_to_score(text: str) -> None:
    """A net without weights has no view."""
    with pytest.raises(SpecError, match="no layer with weights leads to an output, so there is nothing to score"):
        view(text, shapes={"data": (1, 6, 8, 8)})


def test_the_inputs_of_a_view() -> None:
    """Labels and the data of auxiliary heads are no inputs."""
    document = net_document(parse(DATA + PLAIN + LOSS, NetParameter))
    assert deploy_inputs(document, net_state("TEST")) == ["data"]


def test_which_types_learn() -> None:
    """The types that may have blobs are those whose classes declare some."""
    declaring = {
        name
        for name, layer_type in LAYER_TYPES.items()
        if any(
            "add_blob(" in inspect.getsource(part)
            for part in layer_type.build.__mro__
            if part.__module__.startswith("netspec.") and part is not Layer
        )
    }
    assert declaring == LEARNING
