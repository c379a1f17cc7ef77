"""`Net`, the public face: what it takes, what it gives back, what it refuses."""

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from netspec import Net, SnapshotError, SpecError, parse_net

TEXT = """\
name: "small"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [2, 3, 8, 8] } } }
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 2 } } exclude { stage: "deploy" } }
layer {
  name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "gaussian" std: 0.1 } }
}
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer {
  name: "ip" type: "InnerProduct" bottom: "conv1" top: "ip"
  inner_product_param { num_output: 5 weight_filler { type: "gaussian" std: 0.1 } }
}
layer {
  name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" exclude { stage: "deploy" }
}
layer { name: "prob" type: "Softmax" bottom: "ip" top: "prob" include { stage: "deploy" } }
"""


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net(parse_net(TEXT))


@pytest.fixture
def inputs() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {"data": torch.randn(2, 3, 8, 8, generator=generator), "label": torch.tensor([1.0, 4.0])}


def deploy(**options: object) -> Net:
    return Net(parse_net(TEXT), stages=["deploy"], **options)  # type: ignore[arg-type]


def test_blob_shapes(net: Net) -> None:
    """Every blob has its shape, in the order of the layers."""
    shapes = {"data": (2, 3, 8, 8), "label": (2,), "conv1": (2, 4, 6, 6), "ip": (2, 5), "loss": ()}
    assert list(net.blob_shapes.items()) == list(shapes.items())


def test_layers_and_their_blobs(net: Net) -> None:
    """Layers come by name, in order, without the inputs; those with blobs have them in Caffe's order and shapes."""
    assert list(net.layers) == ["conv1", "relu1", "ip", "loss"]
    shapes = {name: [tuple(blob.shape) for blob in blobs] for name, blobs in net.layer_params.items()}
    assert shapes == {"conv1": [(4, 3, 3, 3), (4,)], "ip": [(5, 144), (5,)]}


def test_blobs_are_live(net: Net, inputs: dict[str, Tensor]) -> None:
    """What is written into a blob is what the net computes with, as in Caffe's own Python interface."""
    with torch.no_grad():
        for blob, value in zip(net.layer_params["ip"], (0.0, 3.0), strict=True):
            blob.fill_(value)
    assert torch.equal(net(**inputs, blobs=["ip"])["ip"], torch.full((2, 5), 3.0))


def test_the_numbers_are_plain_torchs(net: Net, inputs: dict[str, Tensor]) -> None:
    """The net's loss and gradients are those of the same chain written in torch."""
    (w1, b1), (w2, b2) = ([b.detach().clone().requires_grad_() for b in blobs] for blobs in net.layer_params.values())
    scores = torch.nn.functional.conv2d(inputs["data"], w1, b1).relu().flatten(1) @ w2.T + b2
    expected = torch.nn.functional.cross_entropy(scores, inputs["label"].long())
    loss = net.loss(net(**inputs))
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    for param, blob in zip(net.params, (w1, b1, w2, b2), strict=True):
        torch.testing.assert_close(param.tensor.grad, blob.grad)


def test_outputs_are_what_a_call_returns(net: Net, inputs: dict[str, Tensor]) -> None:
    """By default a call returns the blobs that nobody reads; asked for, others, in the order asked."""
    assert tuple(net(**inputs)) == net.outputs == ("loss",)
    out = net(**inputs, blobs=["ip", "data", "conv1"])
    assert list(out) == ["ip", "data", "conv1"]
    assert {name: tuple(top.shape) for name, top in out.items()} == {name: net.blob_shapes[name] for name in out}
    assert list(net(**inputs, blobs="ip")) == ["ip"]
    assert net(blobs=()) == {}


def test_a_loss_that_is_read_is_still_returned(inputs: dict[str, Tensor]) -> None:
    """A loss counts although another layer reads it."""
    read = 'layer { name: "twice" type: "Eltwise" bottom: "loss" bottom: "loss" top: "twice" }'
    net = Net(parse_net(TEXT + read))
    assert net.outputs == ("twice", "loss")
    out = net(**inputs)
    assert torch.equal(net.loss(out), out["twice"] / 2)


def test_loss_is_the_weighted_sum(inputs: dict[str, Tensor]) -> None:
    """Losses and other tops with a loss_weight add up; a top of several numbers counts with their sum."""
    more = """
      layer { name: "half" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "half" loss_weight: 0.5 }
      layer { name: "tanh" type: "TanH" bottom: "ip" top: "tanh" loss_weight: 0.01 }
      layer { name: "off" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "off" loss_weight: 0 }
    """
    net = Net(parse_net(TEXT + more))
    assert net.outputs == ("half", "loss", "off", "tanh")
    assert net.loss_weights == pytest.approx({"loss": 1, "half": 0.5, "tanh": 0.01})
    out = net(**inputs)
    torch.testing.assert_close(net.loss(out), out["loss"] * 1.5 + out["tanh"].sum() * 0.01)


def test_a_net_without_a_loss_has_loss_0() -> None:
    """Where nothing counts, the loss is 0."""
    net = deploy()
    assert float(net.loss(net(data=torch.zeros(2, 3, 8, 8)))) == 0


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_any_batch_size(batch: int) -> None:
    """A batch may have another size than the text says; each item has its own result."""
    net = deploy()
    x = torch.randn(batch, 3, 8, 8)
    prob = net(data=x)["prob"]
    assert prob.shape == (batch, 5)
    torch.testing.assert_close(prob[-1:], net(data=x[-1:])["prob"])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"label": None}, r"missing input: label \(2,\)"),
        ({"data": None, "label": None}, r"missing input: data \(2, 3, 8, 8\), label \(2,\)"),
        (
            {"data": torch.zeros(2, 1, 8, 8)},
            r'"data" has shape \(2, 1, 8, 8\); the net was compiled for \(2, 3, 8, 8\)',
        ),
        ({"data": torch.zeros(3, 8, 8)}, r'"data" has shape \(3, 8, 8\)'),
        ({"label": torch.tensor(1.0)}, r'"label" has shape \(\)'),
        ({"data": np.zeros((2, 3, 9, 8))}, r'"data" has shape \(2, 3, 9, 8\); the net was compiled for'),
        (
            {"label": [1, 2]},
            r'"label" must be a dense tensor or an array of real numbers, of shape \(2,\), not a list$',
        ),
        ({"label": np.array(["1", "2"])}, "not a ndarray of <U1"),
        ({"label": np.array([1, None])}, "not a ndarray of object"),
        ({"label": torch.zeros(2, dtype=torch.complex64)}, r"not a Tensor of torch\.complex64"),
        ({"label": torch.zeros(2).to_sparse()}, r"not a Tensor of torch\.float32"),
        ({"dta": torch.zeros(2)}, '"dta" is no input of this net; its inputs are data, label'),
        ({"ip": torch.zeros(2, 5)}, '"ip" is no input of this net'),
        ({"blobs": ["prob"]}, 'there is no blob "prob" in this net; it has data, label, conv1, ip, ...'),
    ],
)
def test_wrong_calls(net: Net, inputs: dict[str, Tensor], change: dict[str, Tensor], reason: str) -> None:
    """An input or a blob that does not fit is a ValueError that names it and what would fit."""
    given = {name: value for name, value in (inputs | change).items() if value is not None}
    with pytest.raises(ValueError, match=reason):
        net(**given)


KINDS = [np.uint8, np.int16, np.uint32, np.int64, np.float16, np.float64, ">f4", bool,
         torch.uint8, torch.int64, torch.float16, torch.bfloat16, torch.float64, torch.bool]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_inputs_of_any_number_type(net: Net, kind: Any) -> None:
    """Arrays and tensors of real numbers become what the net computes in, and are not changed themselves."""
    data, label = np.arange(384).reshape(2, 3, 8, 8) % 2, np.array([1, 0])
    expected = net(data=torch.tensor(data).float(), label=torch.tensor(label).float())["loss"]
    if isinstance(kind, torch.dtype):
        given = {"data": torch.tensor(data).to(kind), "label": torch.tensor(label).to(kind)}
    else:
        given = {"data": data.astype(kind), "label": label.astype(kind)}
    assert torch.equal(net(**given)["loss"], expected)
    assert given["data"].dtype == kind


def test_an_array_that_torch_cannot_hold(net: Net, inputs: dict[str, Tensor]) -> None:
    """A view with negative strides that must not be written is an input as well."""
    data = inputs["data"].numpy()[:, ::-1]
    data.flags.writeable = False
    given = {"data": data, "label": inputs["label"]}
    assert torch.equal(net(**given)["loss"], net(**{**given, "data": torch.tensor(data.copy())})["loss"])


def test_a_gradient_passes_an_input_of_another_type(net: Net, inputs: dict[str, Tensor]) -> None:
    """An input in double precision that wants a gradient gets one, in double precision."""
    data = inputs["data"].double().requires_grad_()
    net.loss(net(data=data, label=inputs["label"])).backward()
    assert data.grad is not None and data.grad.dtype == torch.float64 and data.grad.any()


def test_a_net_in_double_precision(net: Net, inputs: dict[str, Tensor]) -> None:
    """A net whose params the caller has made doubles takes its inputs as doubles."""
    loss, wanted = net.double()(**inputs)["loss"], net.float()(**inputs)["loss"]
    assert loss.dtype == torch.float64
    torch.testing.assert_close(loss.float(), wanted)


def test_phase_stages_and_state_choose_layers() -> None:
    """Stages and a whole state let other layers in."""
    assert deploy().outputs == ("prob",)
    message = parse_net(TEXT + 'state { stage: "deploy" }')
    assert Net(message).outputs == ("prob",)
    assert Net(parse_net(TEXT), state=message.state).outputs == ("prob",)


@pytest.mark.parametrize(("phase", "training"), [("TRAIN", True), ("TEST", False)])
def test_phase_is_the_torch_mode(phase: str, training: bool) -> None:
    """A net in phase TRAIN is in torch's training mode, with all its layers."""
    net = Net(parse_net(TEXT), phase)
    assert {module.training for module in net.modules()} == {training}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"phase": "test"}, 'phase "test" is neither TRAIN nor TEST'),
        ({"shapes": {"dta": (1, 3, 8, 8)}}, '"dta", which is no input of this net'),
        ({"rank": 2, "ranks": 2}, "rank 2 of 2 ranks: they count from 0"),
    ],
)
def test_wrong_arguments(options: dict[str, object], reason: str) -> None:
    """A wrong argument is a ValueError."""
    with pytest.raises(ValueError, match=reason):
        Net(parse_net(TEXT), **options)  # type: ignore[arg-type]


def test_shapes_of_inputs_from_outside() -> None:
    """`shapes` stand in for those of the text; what does not fit them is a SpecError."""
    assert deploy(shapes={"data": (1, 3, 10, 9)}).blob_shapes["conv1"] == (1, 4, 8, 7)
    with pytest.raises(SpecError, match="kernel 3 is larger than the padded input 2"):
        deploy(shapes={"data": [1, 3, 2, 8]})
    with pytest.raises(SpecError, match="negative dimension"):
        deploy(shapes={"data": [-1, 3, 8, 8]})


def test_a_file_and_its_message_make_the_same_net(tmp_path: Path, inputs: dict[str, Tensor]) -> None:
    """A net may come from a path or a message."""
    path = tmp_path / "net.prototxt"
    path.write_text(TEXT)
    results = []
    for source in (path, str(path), parse_net(TEXT)):
        torch.manual_seed(2)
        results.append(Net(source)(**inputs)["loss"])
    assert results[0] == results[1] == results[2]


def test_hard_layer_names(inputs: dict[str, Tensor]) -> None:
    """Layers named like methods, paths or keywords hide nothing and are called as others are."""
    names = ["loss", "type", "forward", "layers", "a/b", "a.b", "class", "training", "code"]
    text = TEXT.replace('"loss"', '"lss"') + "".join(
        f'layer {{ name: "{name}" type: "InnerProduct" bottom: "data" top: "{name}" loss_weight: 1'
        ' inner_product_param { num_output: 1 bias_filler { type: "constant" value: 1 } } }'
        for name in names
    )
    net = Net(parse_net(text))
    assert set(names) < set(net.layers)
    out = net(**inputs)
    assert all(torch.equal(out[name], torch.ones(2, 1)) for name in names)
    torch.testing.assert_close(net.loss(out), out["lss"] + 2 * len(names))
    assert net.code.count("\n") == len(net.layers) + 1


# --- weights ---------------------------------------------------------------------------------------------------------


def same_blobs(one: Net, other: Net) -> bool:
    return all(
        torch.equal(a, b) for name in one.layer_params
        for a, b in zip(one.layer_params[name], other.layer_params[name], strict=True)
    )  # fmt: skip


@pytest.mark.parametrize("name", ["net.caffemodel", "net.safetensors"])
def test_save_and_load(net: Net, tmp_path: Path, name: str) -> None:
    """Saved and loaded, the blobs are the same to the bit, in a net of other layers too."""
    net.save(tmp_path / name)
    torch.manual_seed(5)
    other = deploy()
    assert not same_blobs(net, other)
    report = other.load(tmp_path / name)
    assert (report.copied, report.absent, report.left_over) == (["conv1", "ip"], [], [])
    assert same_blobs(net, other)
    assert same_blobs(net, deploy(weights=tmp_path / name))


def test_loading_keeps_the_tensors(net: Net, tmp_path: Path) -> None:
    """Loading copies into the live blobs: who holds them, sees the new values."""
    net.save(tmp_path / "net.caffemodel")
    before = net.layer_params["ip"][0]
    torch.nn.init.zeros_(before)
    net.load(tmp_path / "net.caffemodel")
    assert net.layer_params["ip"][0] is before
    assert before.any()


def test_strict_refuses_another_shape(net: Net, tmp_path: Path) -> None:
    """A blob of another shape is an error, and nothing is copied."""
    path = tmp_path / "net.caffemodel"
    net.save(path)
    other = Net(parse_net(TEXT.replace("num_output: 5", "num_output: 3")))
    before = other.layer_params["conv1"][0].clone()
    with pytest.raises(SnapshotError, match=r'blob 0 of layer "ip" has shape \(3, 144\) here and \(5, 144\) there'):
        other.load(path)
    assert torch.equal(other.layer_params["conv1"][0], before)


def test_not_strict_leaves_another_shape(net: Net, tmp_path: Path) -> None:
    """Without `strict`, a layer of another shape stays as it was filled and is reported."""
    path = tmp_path / "net.caffemodel"
    net.save(path)
    other = Net(parse_net(TEXT.replace("num_output: 5", "num_output: 3")), weights=path, strict=False)
    assert torch.equal(other.layer_params["conv1"][0], net.layer_params["conv1"][0])
    report = other.load(path, strict=False)
    assert (report.copied, report.absent, report.left_over) == (["conv1"], ["ip"], [])


def test_layers_found_on_one_side_only(net: Net, tmp_path: Path) -> None:
    """Layers are matched by name; what either side lacks is reported, and with `whole` it is an error."""
    path = tmp_path / "net.caffemodel"
    net.save(path)
    other = Net(parse_net(TEXT.replace('name: "conv1"', 'name: "conv1_new"')))
    report = other.load(path)
    assert (report.copied, report.absent, report.left_over) == (["ip"], ["conv1_new"], ["conv1"])
    with pytest.raises(SnapshotError, match="weights of another net: they lack conv1_new"):
        other.load(path, whole=True)


def test_weights_of_another_net(net: Net, tmp_path: Path) -> None:
    """A file without a single layer of the net is an error that names layers of both."""
    path = tmp_path / "net.caffemodel"
    net.save(path)
    renamed = TEXT.replace('name: "conv1"', 'name: "a"').replace('name: "ip"', 'name: "b"')
    with pytest.raises(SnapshotError, match=r"no layer of this net is in it \(it has conv1, ip; the net a, b\)"):
        Net(parse_net(renamed), weights=path)


def test_saving_twice_gives_the_same_bytes(net: Net, tmp_path: Path) -> None:
    """A file depends on the net alone; what `save` returns is its SHA-256."""
    digests = {net.save(tmp_path / name) for name in ("a.caffemodel", "b.caffemodel")}
    assert len(digests) == 1
    assert (tmp_path / "a.caffemodel").read_bytes() == (tmp_path / "b.caffemodel").read_bytes()


# --- as a torch module -----------------------------------------------------------------------------------------------


def test_a_copy_is_independent(net: Net, inputs: dict[str, Tensor]) -> None:
    """A deep copy computes the same with blobs of its own, which its params are too."""
    net(**inputs)
    other = copy.deepcopy(net)
    assert same_blobs(net, other)
    torch.nn.init.zeros_(other.params[2].tensor)
    assert not other.layer_params["ip"][0].any()
    assert net.layer_params["ip"][0].any()
    assert torch.equal(other(**inputs, blobs=["ip"])["ip"], torch.zeros(2, 5))


def test_pickled(net: Net, inputs: dict[str, Tensor]) -> None:
    """A net survives being sent to another process."""
    assert torch.equal(pickle.loads(pickle.dumps(net))(**inputs)["loss"], net(**inputs)["loss"])


def test_state_dict(net: Net) -> None:
    """torch sees each blob once."""
    assert [tuple(blob.shape) for blob in net.state_dict().values()] == [(4, 3, 3, 3), (4,), (5, 144), (5,)]
    assert [id(blob) for blob in net.parameters()] == [id(param.tensor) for param in net.params]


def test_compiled_by_torch(net: Net, inputs: dict[str, Tensor]) -> None:
    """torch.compile takes a net whole, as one graph, and it computes the same."""
    compiled = torch.compile(net, backend="eager", fullgraph=True)
    assert torch.equal(compiled(**inputs)["loss"], net(**inputs)["loss"])


def test_exported_by_torch(inputs: dict[str, Tensor]) -> None:
    """torch.export takes a deploy net, and it computes the same."""
    net = deploy()
    exported = torch.export.export(net, (), {"data": inputs["data"]}).module()
    assert torch.equal(exported(data=inputs["data"])["prob"], net(data=inputs["data"])["prob"])
