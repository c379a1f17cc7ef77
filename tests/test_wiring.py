"""The chained forward pass: what it computes, what it leaves out, how it reads."""

import pytest
import torch
from torch import Tensor

from netspec import Net, SpecError, parse_net

DATA = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [2, 6] } } }\n'
IP = (
    'layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"'
    ' inner_product_param { num_output: 4 weight_filler { type: "gaussian" } } }\n'
)


def layer(name: str, kind: str, bottom: str, top: str, rest: str = "") -> str:
    return f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{top}" {rest} }}\n'


def net(text: str, phase: str = "TEST") -> Net:
    return Net(parse_net(text), phase)


def test_code_has_one_line_a_layer() -> None:
    """The pass reads as Python: a line a layer, in order, and the blobs it returns."""
    text = DATA + IP + layer("relu", "ReLU", "ip", "ip") + layer("prob", "Softmax", "ip", "prob")
    assert net(text).code == (
        "def forward(self, in_data):\n"
        "    ip = self.ip(in_data)\n"
        "    relu = self.relu(ip)\n"
        "    prob = self.prob(relu)\n"
        "    return {'prob': prob}"
    )


def test_only_what_is_asked_for_is_computed() -> None:
    """Layers that the blobs do not need are left out, with their inputs."""
    other = DATA.replace('"data"', '"other"') + layer("tanh", "TanH", "other", "tanh")
    both = net(DATA + IP + layer("drop", "Dropout", "ip", "drop") + other)
    assert list(both(data=torch.zeros(2, 6), blobs=["ip"])) == ["ip"]
    with pytest.raises(ValueError, match="missing input: other"):
        both(data=torch.zeros(2, 6), blobs=["tanh"])


def test_in_place_gradients_are_plain_torchs() -> None:
    """A chain of in-place layers has the gradients of the same chain in torch."""
    built = net(DATA + IP + layer("tanh", "TanH", "ip", "ip") + layer("relu", "ReLU", "ip", "ip"))
    weight, bias = (blob.detach().clone().requires_grad_() for blob in built.layer_params["ip"])
    x = torch.randn(2, 6)
    built(data=x)["ip"].square().sum().backward()
    torch.nn.functional.linear(x, weight, bias).tanh().relu().square().sum().backward()
    torch.testing.assert_close(built.layer_params["ip"][0].grad, weight.grad)
    torch.testing.assert_close(built.layer_params["ip"][1].grad, bias.grad)


def test_a_blob_asked_for_is_the_one_after_all_changes_in_place() -> None:
    """As in Caffe, a name means what stands under it at the end; an input changed in place is not touched."""
    x = -torch.ones(2, 6)
    assert torch.equal(net(DATA + layer("relu", "ReLU", "data", "data"))(data=x)["data"], torch.zeros(2, 6))
    assert torch.equal(x, -torch.ones(2, 6))


def test_several_tops() -> None:
    """Each top of a layer is a blob of its own, also where only one of them is read."""
    slices = net(DATA + layer("slice", "Slice", "data", "a").replace('top: "a"', 'top: "a" top: "b" top: "c"'))
    x = torch.randn(2, 6)
    assert torch.equal(torch.cat(list(slices(data=x).values()), 1), x)
    assert torch.equal(slices(data=x, blobs=["b"])["b"], x[:, 2:4])


@pytest.mark.parametrize(
    ("flags", "flows"), [("", True), ("propagate_down: true", True), ("propagate_down: false", False)]
)
def test_propagate_down(flags: str, flows: bool) -> None:
    """No gradient flows back into a bottom whose propagate_down is false; the layer's own blobs have theirs."""
    built = net(DATA + IP + layer("ip2", "InnerProduct", "ip", "y", f"{flags} inner_product_param {{ num_output: 1 }}"))
    torch.nn.init.ones_(built.layer_params["ip2"][0])
    built(data=torch.ones(2, 6))["y"].sum().backward()
    assert built.layer_params["ip2"][0].grad is not None
    assert (built.layer_params["ip"][0].grad is not None) is flows


def test_blobs_of_any_name() -> None:
    """Blobs may be named as Python cannot name its own, inputs too, and alike but for their marks."""
    names = ["a/b", "a.b", "a_b", "class", "1", "é", "in_data"]
    inputs = "".join(DATA.replace('"data"', f'"{name}"') for name in names)
    outputs = "".join(layer(f"{name}", "ReLU", name, f"{name}/top") for name in names)
    given = {name: torch.full((2, 6), float(i)) for i, name in enumerate(names)}
    out = net(inputs + outputs)(**given)
    assert {name: float(out[f"{name}/top"][0, 0]) for name in names} == {name: i for i, name in enumerate(names)}


# --- which gradients are computed -------------------------------------------------------------------------------------

LABEL = DATA.replace('"data"', '"label"').replace("[2, 6]", "2")
FROZEN = "param { lr_mult: 0 } param { lr_mult: 0 }"
IP2 = (
    'layer { name: "ip2" type: "InnerProduct" bottom: "relu" top: "ip2" %s'
    ' inner_product_param { num_output: 3 weight_filler { type: "gaussian" } } }\n'
)
LOSS = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip2" bottom: "label" top: "loss" }\n'
INPUTS = {"data": torch.arange(12.0).view(2, 6) / 6 - 1, "label": torch.tensor([1.0, 2.0])}


def classifier(first: str = "", second: str = "", rest: str = "") -> Net:
    """data - ip - relu - ip2 - loss, with texts for the two InnerProduct layers and for the net."""
    ip = IP.replace('top: "ip"', f'top: "ip" {first}')
    return net(DATA + LABEL + ip + layer("relu", "ReLU", "ip", "relu") + IP2 % second + LOSS + rest, "TRAIN")


def backward_calls(loss: Tensor) -> set[str]:
    """The kinds of autograd nodes that backward from a loss would run."""
    found, ahead = set(), [loss.grad_fn]
    while ahead:
        node = ahead.pop()
        if node is not None and node not in found:
            found.add(node)
            ahead += [below for below, _ in node.next_functions]
    return {node.name() for node in found}


@pytest.mark.parametrize(
    ("first", "second", "rest", "reached", "forced"),
    [
        ("", "", "", True, []),
        (FROZEN, "", "", False, []),
        ("", "propagate_down: false", "", False, []),
        ("propagate_down: true", "", "", True, ["data"]),
        (FROZEN + " propagate_down: true", "", "", True, ["data"]),
        (FROZEN, "", "force_backward: true", True, ["data"]),
        ("", "propagate_down: false", "force_backward: true", True, ["data"]),
        ("propagate_down: false", "", "force_backward: true", True, ["data"]),
    ],
)
def test_what_backward_reaches(first: str, second: str, rest: str, reached: bool, forced: list[str]) -> None:
    """Frozen layers have no backward work unless something below them wants a gradient; `force_backward` and
    `propagate_down: true` bring one to the inputs, but never to labels."""
    built = classifier(first, second, rest)
    loss = built.loss(built(**INPUTS))
    assert any("Relu" in name for name in backward_calls(loss)) is reached
    loss.backward()
    assert list(built.inputs) == forced
    if forced:
        (weight, _), (weight2, _) = built.layer_params.values()
        x = INPUTS["data"].clone().requires_grad_()
        scores = (x @ weight.detach().T).relu() @ weight2.detach().T
        torch.nn.functional.cross_entropy(scores, INPUTS["label"].long()).backward()
        torch.testing.assert_close(built.inputs["data"].grad, x.grad)
    assert INPUTS["data"].grad is None


def test_a_frozen_layer_runs_no_backward() -> None:
    """The parameters of layers with an lr_mult of 0 get no gradient, nor does anything below them."""
    built = classifier(FROZEN)
    built.loss(built(**INPUTS)).backward()
    assert [param.tensor.grad is not None for param in built.params] == [False, False, True, True]


def test_force_backward_gives_frozen_params_gradients() -> None:
    """As in Caffe, force_backward computes every gradient; the rates stay 0."""
    built = classifier(FROZEN, rest="force_backward: true")
    built.loss(built(**INPUTS)).backward()
    assert all(param.tensor.grad is not None for param in built.params)
    assert [param.lr_mult for param in built.params] == [0, 0, 1, 1]


def test_an_input_that_takes_a_gradient_is_used_as_it_is() -> None:
    """A tensor of the caller's that wants a gradient gets it itself."""
    built = classifier(rest="force_backward: true")
    x = INPUTS["data"].clone().requires_grad_()
    built.loss(built(**INPUTS | {"data": x})).backward()
    assert built.inputs["data"] is x
    assert x.grad is not None
    with torch.no_grad():
        assert not built(**INPUTS)["loss"].requires_grad


@pytest.mark.parametrize(
    ("kind", "bottoms", "forced"),
    [
        ("SoftmaxWithLoss", "data label", ["data"]),
        ("EuclideanLoss", "data other", ["data", "other"]),
        ("Eltwise", "data other", ["data", "other"]),
    ],
)
def test_labels_are_not_forced(kind: str, bottoms: str, forced: list[str]) -> None:
    """force_backward reaches every bottom that its layer can give a gradient."""
    fields = " ".join(f'bottom: "{name}"' for name in bottoms.split())
    other = DATA.replace('"data"', '"other"')
    built = net(f'{DATA}{LABEL}{other} layer {{ type: "{kind}" {fields} top: "y" }} force_backward: true')
    built(**INPUTS, other=INPUTS["data"])
    assert list(built.inputs) == forced


# --- loss_weight ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "factor"), [("", 0), ("loss_weight: 0", 0), ("loss_weight: 2", 2), ("loss_weight: -0.5", -0.5)]
)
def test_a_top_that_counts_and_is_read(weights: str, factor: float) -> None:
    """A top with a loss_weight adds w sum(top); its gradient and that of its readers add up."""
    tanh = layer("tanh", "TanH", "ip", "tanh", weights)
    built = net(DATA + IP + tanh + layer("y", "Power", "tanh", "y", "power_param { power: 2 } loss_weight: 3"))
    weight, bias = built.layer_params["ip"]
    x = INPUTS["data"]
    loss = built.loss(built(data=x))
    loss.backward()
    t = (x @ weight.detach().T + bias.detach()).tanh()
    torch.testing.assert_close(loss, factor * t.sum() + 3 * (t**2).sum())
    slope = (factor + 6 * t) * (1 - t**2)
    torch.testing.assert_close(weight.grad, slope.T @ x)
    torch.testing.assert_close(bias.grad, slope.sum(0))


def test_each_top_has_its_loss_weight() -> None:
    """Of several tops each counts with its own weight, 0 for not at all."""
    sliced = layer("slice", "Slice", "ip", "a", "loss_weight: [1, 0, 3]").replace(
        'top: "a"', 'top: "a" top: "b" top: "c"'
    )
    built = net(DATA + IP.replace("num_output: 4", "num_output: 3") + sliced)
    built.loss(built(data=INPUTS["data"])).backward()
    assert built.layer_params["ip"][1].grad.tolist() == [2, 0, 6]


def test_an_input_may_count() -> None:
    """The tops of layers that make inputs count too, where the text says so."""
    built = net(DATA.replace("input_param", "loss_weight: 2 input_param"))
    assert float(built.loss(built(data=torch.ones(2, 6)))) == 24


# --- in place ---------------------------------------------------------------------------------------------------------

IN_PLACE = [
    ("ReLU", ""), ("ReLU", "relu_param { negative_slope: 0.1 }"), ("PReLU", ""), ("ELU", ""), ("Sigmoid", ""),
    ("TanH", ""), ("BNLL", ""), ("Dropout", ""), ("Power", "power_param { power: 2 shift: 3 }"),
    ("Exp", "exp_param { scale: 0.1 }"),
    ("Log", "log_param { shift: 3 scale: 0.1 }"), ("Softmax", ""), ("LRN", ""), ("MVN", ""), ("BatchNorm", ""),
    ("Scale", "scale_param { bias_term: true }"), ("Bias", ""), ("Clip", "clip_param { min: -0.5 max: 0.5 }"),
    ("Swish", ""), ("ReLU6", ""),
]  # fmt: skip
NAMES = [f"{kind}-{rest}" if rest else kind for kind, rest in IN_PLACE]
CONV = (
    'layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" convolution_param {'
    ' num_output: 6 kernel_size: 1 weight_filler { type: "gaussian" } bias_filler { type: "gaussian" } } }\n'
)


def chain(links: list[tuple[str, str]], end: str, in_place: bool, phase: str) -> list[Tensor]:
    """The output and the gradients of a convolution with layers after it, in place or not."""
    torch.manual_seed(5)
    text, last = DATA.replace("[2, 6]", "[2, 6, 3, 3]") + CONV, "conv"
    for index, (kind, rest) in enumerate(links):
        top = last if in_place else f"t{index}"
        text += layer(f"l{index}", kind, last, top, rest)
        last = top
    built = net(text + (layer("end", end, last, "end") if end else ""), phase)
    out = built(data=torch.randn(2, 6, 3, 3), blobs="end" if end else last)["end" if end else last]
    (out * torch.arange(out.numel()).view(out.shape)).sum().backward()
    return [out, *(p.tensor.grad if p.lr_mult else p.tensor for p in built.params)]


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
@pytest.mark.parametrize("end", ["", "TanH"])
@pytest.mark.parametrize(("kind", "rest"), IN_PLACE, ids=NAMES)
def test_in_place_changes_nothing(kind: str, rest: str, end: str, phase: str) -> None:
    """In place, once or twice in a row, in the middle or last, a layer gives what it gives with a top of its own."""
    for links in ([(kind, rest)], [(kind, rest)] * 2, [(kind, rest), ("ReLU", "")], [("ReLU", ""), (kind, rest)]):
        for one, other in zip(chain(links, end, True, phase), chain(links, end, False, phase), strict=True):
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ("kind", "rest"),
    [("Flatten", ""), ("Reshape", "reshape_param { shape { dim: [4, 2] } }"), ("Split", ""), ("AbsVal", "")],
)
def test_types_that_cannot_work_in_place(kind: str, rest: str) -> None:
    """The types that Caffe refuses in place are refused at their top."""
    with pytest.raises(SpecError, match=f"{kind} (cannot|does not) work in place: give (the|its) top another name"):
        net(DATA + IP + layer("x", kind, "ip", "ip", rest))
    net(DATA + IP + layer("x", kind, "ip", "y", rest))


@pytest.mark.parametrize("weight", ["loss_weight: 1", "loss_weight: 0"])
def test_what_counts_cannot_be_changed_in_place(weight: str) -> None:
    """A top with a loss_weight has a reader, the loss: no layer after may change it."""
    text = DATA + IP.replace("inner_product_param", f"{weight} inner_product_param") + layer("r", "ReLU", "ip", "ip")
    if weight.endswith("0"):
        assert net(text).loss_weights == {}
        return
    with pytest.raises(SpecError, match='"ip" counts toward the loss and cannot be changed in place'):
        net(text)


def test_a_top_may_count_after_its_change() -> None:
    """The loss_weight of the layer in place weighs the changed blob."""
    built = net(DATA + IP + layer("r", "ReLU", "ip", "ip", "loss_weight: 2"))
    out = built(data=INPUTS["data"])
    torch.testing.assert_close(built.loss(out), 2 * out["ip"].sum())
    assert bool((out["ip"] >= 0).all())
