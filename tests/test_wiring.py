"""The chained forward pass: what it computes, what it leaves out, how it reads."""

import pytest
import torch

from netspec import Net, parse_net

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


@pytest.mark.parametrize("kind", ["ReLU", "Sigmoid", "TanH", "Dropout"])
def test_in_place_is_the_same_as_not(kind: str) -> None:
    """A layer in place gives the values and gradients of one with a top of its own."""
    results = []
    for top in ("ip", "other"):
        torch.manual_seed(3)
        text = (
            DATA
            + IP
            + layer("act", kind, "ip", top)
            + layer("sum", "Eltwise", top, "y").replace(f'bottom: "{top}"', f'bottom: "{top}" bottom: "{top}"')
        )
        built = net(text, "TRAIN")
        x = torch.randn(2, 6)
        out = built(data=x)["y"]
        out.square().sum().backward()
        results.append([out, *(blob.grad for blob in built.layer_params["ip"])])
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


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
