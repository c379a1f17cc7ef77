"""Blobs: filled, shared by name, lent by another net, and what a solver is told of them."""

import copy
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from netspec import Net, SnapshotError, SpecError, parse_net
from netspec.blobs import misfit
from netspec.schema.netspec_pb2 import NetParameter
from netspec.spec import parse

DATA = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [2, 6] } } }\n'


def product(name: str, params: str = "", num_output: int = 6, bottom: str = "data", fillers: str = "") -> str:
    return (
        f'layer {{ name: "{name}" type: "InnerProduct" bottom: "{bottom}" top: "{name}" {params}'
        f" inner_product_param {{ num_output: {num_output} {fillers} }} }}\n"
    )


def net(text: str, **options: object) -> Net:
    return Net(parse_net(DATA + text), **options)  # type: ignore[arg-type]


GAUSSIAN = 'weight_filler { type: "gaussian" } bias_filler { type: "uniform" }'


def test_a_seed_gives_the_same_blobs() -> None:
    """Fillers draw from torch's generator, in the order of the layers."""
    nets = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        nets.append(net(product("a", fillers=GAUSSIAN) + product("b", fillers=GAUSSIAN)))
    first, same, other = ([blob for blobs in n.layer_params.values() for blob in blobs] for n in nets)
    assert all(map(torch.equal, first, same))
    assert not any(map(torch.equal, first, other))
    assert not torch.equal(first[0], first[2])


def test_without_a_filler_a_blob_is_zero() -> None:
    """Caffe's default filler is the constant 0."""
    assert all(not blob.any() for blob in net(product("a")).layer_params["a"])


def test_params_in_caffes_order() -> None:
    """Every blob comes once, with its layer and multipliers; without a `param` these are 1."""
    params = net(
        product("a", "param { lr_mult: 2 decay_mult: 0 }") + product("b", "param { } param { lr_mult: 0 }")
    ).params
    assert [(p.layer, tuple(p.tensor.shape), p.lr_mult, p.decay_mult) for p in params] == [
        ("a", (6, 6), 2, 0), ("a", (6,), 1, 1), ("b", (6, 6), 1, 1), ("b", (6,), 0, 1),
    ]  # fmt: skip
    assert [p.tensor.requires_grad for p in params] == [True, True, True, False]


def test_states_are_no_torch_parameters() -> None:
    """BatchNorm's statistics are blobs of the net, but neither learn nor have a rate."""
    bn = net('layer { name: "bn" type: "BatchNorm" bottom: "data" top: "bn" }')
    assert [p.lr_mult for p in bn.params] == [0, 0, 0]
    assert list(bn.parameters()) == []
    assert len(bn.layer_params["bn"]) == 3


SHARED = 'param { name: "w" } param { name: "b" }'


def test_a_shared_blob_is_one_param() -> None:
    """Layers that name a blob share it: one Param, one tensor, the first layer's filler."""
    shared = net(product("a", SHARED, fillers=GAUSSIAN) + product("b", SHARED, bottom="a"))
    assert [p.layer for p in shared.params] == ["a", "a"]
    assert len(list(shared.parameters())) == 2
    for a, b in zip(shared.layer_params["a"], shared.layer_params["b"], strict=True):
        assert a is b
        assert a.any()


def test_gradients_of_a_shared_blob_add_up() -> None:
    """A shared weight has the gradient of all its uses, as in plain torch."""
    shared = net(product("a", SHARED, fillers=GAUSSIAN) + product("b", SHARED, bottom="a"))
    weight, bias = (blob.detach().clone().requires_grad_() for blob in shared.layer_params["a"])
    x = torch.randn(2, 6)
    shared(data=x)["b"].square().sum().backward()
    linear = torch.nn.functional.linear
    linear(linear(x, weight, bias), weight, bias).square().sum().backward()
    torch.testing.assert_close(shared.layer_params["a"][0].grad, weight.grad)
    torch.testing.assert_close(shared.layer_params["a"][1].grad, bias.grad)


def test_a_blob_shared_within_a_layer() -> None:
    """Two blobs of one layer may be one."""
    text = (
        'layer { name: "conv" type: "Scale" bottom: "data" top: "y" param { name: "w" } param { name: "w" }'
        " scale_param { bias_term: true } }"
    )
    scale = net(text)
    assert len(scale.params) == 1
    assert scale.layer_params["conv"][0] is scale.layer_params["conv"][1]


@pytest.mark.parametrize(
    ("second", "reason", "at"),
    [
        (
            product("b", SHARED, num_output=5),
            'the shared blob "w" has shape (5, 6) here and (6, 6) in layer "a"',
            'param { name: "w"',
        ),
        (
            product("b", SHARED).replace('"w"', '"w" lr_mult: 2'),
            'lr_mult of the shared blob "w" is not that of layer "a"',
            "lr_mult: 2",
        ),
        (
            product("b", SHARED).replace('"w"', '"w" decay_mult: 2'),
            'decay_mult of the shared blob "w" is not that of layer "a"',
            "decay_mult: 2",
        ),
        (
            product("b", SHARED.replace('"w"', '"w" share_mode: PERMISSIVE'), num_output=5),
            'the shared blob "w": (5, 6) has 30 values and (6, 6) in layer "a" 36',
            'param { name: "w" share_mode',
        ),
        (
            'layer { name: "bn" type: "BatchNorm" bottom: "data" top: "bn" param { name: "b" lr_mult: 0 } }',
            'the shared blob "b" learns in only one of this layer and "a"',
            'param { name: "b"',
        ),
        (product("b", "param { } param { } param { }"), "3 param for 2 blobs", "param { } inner"),
        (product("b", fillers='weight_filler { type: "xaiver" }'), 'did you mean "xavier"', 'type: "xaiver"'),
    ],
)
def test_params_that_do_not_fit(second: str, reason: str, at: str) -> None:
    """Shared blobs must agree in shape and in multipliers that are written; fillers must exist."""
    with pytest.raises(SpecError) as caught:
        owner = product("a", SHARED.replace('"w"', '"w" lr_mult: 1 decay_mult: 1'))
        Net(parse(DATA + owner + second, NetParameter))
    error = caught.value
    assert reason in f"{error.reason} {error.hint}"
    assert error.line == 3
    assert error.source_line[error.column - 1 :].startswith(at)


def test_multipliers_left_out_are_the_owners() -> None:
    """A sharing layer that writes no multiplier takes the owner's."""
    shared = net(product("a", 'param { name: "w" lr_mult: 3 }') + product("b", 'param { name: "w" }'))
    assert [p.lr_mult for p in shared.params] == [3, 1, 1]


@pytest.mark.parametrize(
    ("specs", "lr_mult", "decay_mult"),
    [
        (["", "lr_mult: 2 decay_mult: 3"], 2, 3),
        (["decay_mult: 3", "lr_mult: 2"], 2, 3),
        (["", "", "lr_mult: 2"], 2, 1),
        (["", "lr_mult: 0", "lr_mult: 0"], 0, 1),
        (["lr_mult: 2", "", "lr_mult: 2 decay_mult: 0"], 2, 0),
    ],
)
def test_a_multiplier_may_be_given_by_any_sharer(specs: list[str], lr_mult: float, decay_mult: float) -> None:
    """A multiplier that the owner leaves out is that of the first sharer that gives it."""
    shared = net("".join(product(f"ip{i}", f'param {{ name: "w" {spec} }}') for i, spec in enumerate(specs)))
    first = shared.params[0]
    assert (first.lr_mult, first.decay_mult) == (lr_mult, decay_mult)
    assert first.tensor.requires_grad is (lr_mult != 0)


def test_a_multiplier_must_be_that_of_the_first_sharer_too() -> None:
    """A sharer that gives a multiplier binds those after it."""
    specs = ["", "lr_mult: 2", "lr_mult: 3"]
    with pytest.raises(SpecError, match='lr_mult of the shared blob "w" is not that of layer "ip0"'):
        net("".join(product(f"ip{i}", f'param {{ name: "w" {spec} }}') for i, spec in enumerate(specs)))


# --- PERMISSIVE -------------------------------------------------------------------------------------------------------

PERMISSIVE = product("a", 'param { name: "w" }', 4, fillers=GAUSSIAN) + product(
    "b", 'param { name: "w" share_mode: PERMISSIVE }', 6, bottom="a", fillers=GAUSSIAN
)


def permissive(text: str = PERMISSIVE, **options: object) -> Net:
    """a maps 6 numbers to 4 by a weight of (4, 6), b maps them back by the same 24 numbers as (6, 4)."""
    return net(text, **options)


def test_permissive_sharing_compares_counts_only() -> None:
    """With PERMISSIVE at the sharer, one blob has a shape of its own in each layer, and one gradient for all."""
    shared = permissive()
    (weight, bias), (view, other) = shared.layer_params["a"], shared.layer_params["b"]
    assert (weight.shape, view.shape) == ((4, 6), (6, 4))
    assert [p.layer for p in shared.params] == ["a", "a", "b"]
    assert torch.equal(weight.flatten(), view.flatten())
    x = torch.randn(2, 6)
    for _ in range(2):  # once more: the view is good for any number of passes
        shared.zero_grad()
        shared(data=x)["b"].square().sum().backward()
        w, b1, b2 = (blob.detach().clone().requires_grad_() for blob in (weight, bias, other))
        ((x @ w.T + b1) @ w.view(6, 4).T + b2).square().sum().backward()
        torch.testing.assert_close(weight.grad, w.grad)
        torch.testing.assert_close(bias.grad, b1.grad)
        with torch.no_grad():
            weight.mul_(0.5)


def test_permissive_is_the_sharers_word() -> None:
    """As in Caffe, the owner's share_mode says nothing."""
    modes = PERMISSIVE.replace(" share_mode: PERMISSIVE", "").replace('"w" }', '"w" share_mode: PERMISSIVE }', 1)
    with pytest.raises(SpecError, match=r'the shared blob "w" has shape \(6, 4\) here and \(4, 6\) in layer "a"'):
        permissive(modes)


@pytest.mark.parametrize("name", ["net.caffemodel", "net.safetensors", "net.caffemodel.h5"])
def test_permissive_sharing_outlives_a_file(tmp_path: Path, name: str) -> None:
    """Saved, loaded, copied or lent, the two shapes stay one blob."""
    shared, x = permissive(), torch.randn(2, 6)
    shared.save(tmp_path / name)
    loaded, copied, lent = permissive(), copy.deepcopy(shared), permissive(share=shared)
    loaded.load(tmp_path / name)
    for other in (loaded, copied, lent):
        torch.testing.assert_close(other(data=x)["b"], shared(data=x)["b"])
        with torch.no_grad():
            other.layer_params["a"][0][0, 5] = 9
        assert float(other.layer_params["b"][0][1, 1].detach()) == 9
    assert len(list(loaded.parameters())) == len(list(copied.parameters())) == 3


@pytest.mark.parametrize("name", ["net.caffemodel", "net.caffemodel.h5"])
def test_gradients_of_shared_blobs_are_their_owners(tmp_path: Path, name: str) -> None:
    """Each layer that shares a blob has the whole gradient in the file, in its own shape."""
    shared = permissive()
    shared(data=torch.randn(2, 6))["b"].sum().backward()
    shared.save(tmp_path / name, diff=True)
    if name.endswith(".h5"):
        with h5py.File(tmp_path / name) as file:
            found = [file["diff"][layer]["0"][()] for layer in "ab"]
    else:
        layers = NetParameter.FromString((tmp_path / name).read_bytes()).layer
        blobs = [layer.blobs[0] for layer in layers if layer.name in "ab"]
        found = [np.float32(blob.diff).reshape(blob.shape.dim) for blob in blobs]
    (gradient,) = (param.tensor.grad for param in shared.params if param.layer == "a" and param.tensor.dim() == 2)
    assert gradient is not None and gradient.any()
    for layer, stored in zip("ab", found, strict=True):
        assert stored.tolist() == gradient.reshape(shared.layer_params[layer][0].shape).tolist()


def test_gradients_have_no_place_in_safetensors(tmp_path: Path) -> None:
    """To save them there is an error, and no file."""
    with pytest.raises(SnapshotError, match=r"x.safetensors: cannot be written: .* no place for diffs"):
        net(product("a")).save(tmp_path / "x.safetensors", diff=True)
    assert not list(tmp_path.iterdir())


def test_a_view_is_lent_without_its_owner() -> None:
    """A net that has only the sharer borrows its blob, and sees every change."""
    shared = permissive()
    alone = net(product("b", bottom="data", num_output=6).replace("num_output: 6", "num_output: 6 axis: 1"),
                shapes={"data": (2, 4)}, share=shared)  # fmt: skip
    with torch.no_grad():
        shared.layer_params["a"][0].fill_(0.25)
        shared.layer_params["b"][1].zero_()
    torch.testing.assert_close(alone(data=torch.ones(2, 4))["b"], torch.ones(2, 6))


def test_a_borrowing_net_sees_every_change() -> None:
    """With `share`, blobs are the other net's own tensors; layers that it lacks are filled."""
    train = net(product("a", fillers=GAUSSIAN))
    test = net(product("a") + product("b", bottom="a"), share=train)
    with torch.no_grad():
        train.layer_params["a"][1].fill_(7)
    assert test.layer_params["a"][0] is train.layer_params["a"][0]
    assert torch.equal(test(data=torch.zeros(2, 6), blobs=["a"])["a"], torch.full((2, 6), 7.0))
    assert not test.layer_params["b"][0].any()


def test_a_borrowing_net_shares_states() -> None:
    """Statistics that training gathers are those the test net uses."""
    text = 'layer { name: "bn" type: "BatchNorm" bottom: "data" top: "bn" }'
    train = net(text, phase="TRAIN")
    test = net(text, share=train)
    x = torch.randn(2, 6) + 5
    train(data=x)
    expected = (x - x.mean(0)) / (x.var(0) + 1e-5).sqrt()
    torch.testing.assert_close(test(data=x)["bn"], expected)


def test_a_borrowing_net_must_fit() -> None:
    """A blob of another shape in the lending net is a SpecError at the layer."""
    with pytest.raises(
        SpecError, match=r'blob 0 of layer "a" has shape \(5, 6\) here and \(6, 6\) there \(in the train net\)'
    ):
        net(product("a", num_output=5), share=net(product("a")))


# --- two layers of one name -------------------------------------------------------------------------------------------

TWINS = product("ip", fillers=GAUSSIAN) + product("ip", bottom="ip", fillers=GAUSSIAN).replace('top: "ip"', 'top: "y"')


def test_two_layers_of_one_name_run(caplog: pytest.LogCaptureFixture) -> None:
    """As in Caffe, layers of one name have blobs of their own; by name the first is found, and one line says so."""
    twins = Net(parse(DATA + TWINS, NetParameter, "twins.prototxt"))
    assert [record.message for record in caplog.records] == [
        "twins.prototxt: ip: two layers with weights have this name (lines 2 and 3): "
        "only the first gets weights by name, and the net cannot be trained or saved"
    ]
    (w1, b1, w2, b2), x = [param.tensor for param in twins.params], torch.randn(2, 6)
    torch.testing.assert_close(twins(data=x)["y"], (x @ w1.T + b1) @ w2.T + b2)
    assert twins.layer_params["ip"][0] is w1


def test_the_first_of_a_name_gets_weights(tmp_path: Path) -> None:
    """Weights that are loaded or lent by name go to the first layer of that name, as in Caffe."""
    single = net(product("ip", fillers=GAUSSIAN))
    single.save(tmp_path / "x.caffemodel")
    loaded, lent = net(TWINS, weights=tmp_path / "x.caffemodel"), net(TWINS, share=single)
    for twins in (loaded, lent):
        assert torch.equal(twins.params[0].tensor, single.params[0].tensor)
        assert not torch.equal(twins.params[2].tensor, single.params[0].tensor)


def test_two_layers_of_one_name_are_not_saved(tmp_path: Path) -> None:
    """A file could not tell the two apart, so none is written."""
    with pytest.raises(SpecError, match=r'a layer with weights is already named "ip" \(line 2\)'):
        Net(parse(DATA + TWINS, NetParameter)).save(tmp_path / "x.caffemodel")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("file", ["x.caffemodel", "x.caffemodel.h5", "x.safetensors"])
def test_two_layers_of_one_name_that_share_all(tmp_path: Path, file: str, caplog: pytest.LogCaptureFixture) -> None:
    """Layers of one name whose blobs are the same ones are saved and loaded as one."""
    text = product("ip", SHARED, fillers=GAUSSIAN)
    text += text.replace('bottom: "data" top: "ip"', 'bottom: "ip" top: "y"')
    one, other, x = net(text), net(text), torch.randn(2, 6)
    one.save(tmp_path / file)
    other.load(tmp_path / file, whole=True)
    assert torch.equal(other(data=x)["y"], one(data=x)["y"])
    assert len(one.params) == 2
    assert not caplog.records


@pytest.mark.parametrize("file", ["x.caffemodel", "x.caffemodel.h5", "x.safetensors"])
def test_a_layer_without_blobs_may_have_the_same_name(
    tmp_path: Path, file: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Weights are those of the layer that has blobs, whichever other layers have its name before it or after."""
    relu = 'layer { name: "ip" type: "ReLU" bottom: "data" top: "r" }\n'
    text = relu + product("ip", fillers=GAUSSIAN) + relu.replace('"r"', '"s"')
    one, other = net(text), net(text)
    one.save(tmp_path / file)
    assert other.load(tmp_path / file).copied == ["ip"]
    assert torch.equal(other.params[0].tensor, one.params[0].tensor)
    assert not caplog.records


@pytest.mark.parametrize(
    ("own", "stored", "problem"),
    [
        ([(2, 3)], [(2, 3)], ""),
        ([(2, 3), (2,)], [(1, 1, 2, 3), (1, 1, 1, 2)], ""),
        ([(1,)], [()], ""),
        ([(2, 3)], [(3, 2)], 'blob 0 of layer "a" has shape (2, 3) here and (3, 2) there'),
        ([(2, 3)], [(2, 3, 1, 1)], 'blob 0 of layer "a" has shape (2, 3) here and (2, 3, 1, 1) there'),
        ([(2, 3), (2,)], [(2, 3)], 'layer "a" has 2 blobs here and 1 there'),
    ],
)
def test_misfit(own: list[tuple[int, ...]], stored: list[tuple[int, ...]], problem: str) -> None:
    """Blobs fit where their shapes agree but for ones in front, as old files pad them."""
    assert misfit("a", [torch.empty(s) for s in own], [torch.empty(s) for s in stored]) == problem
