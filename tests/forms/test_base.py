"""Where forms are found, and how a net computes in them."""

import copy
import pickle

import pytest
import torch

from netspec import Net, parse_net

DATA = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [2, 3] } } }\n'
IP = (
    'layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"'
    ' inner_product_param { num_output: 4 weight_filler { type: "gaussian" } } }\n'
)
X = torch.ones(2, 3)

pytestmark = pytest.mark.usefixtures("made_up")


def layer(name: str, kind: str, bottom: str, top: str, rest: str = "") -> str:
    return f'layer {{ name: "{name}" type: "{kind}" bottom: "{bottom}" top: "{top}" {rest} }}\n'


def net(*layers: str) -> Net:
    torch.manual_seed(0)
    return Net(parse_net(DATA + IP + "".join(layers)))


RELU = layer("relu", "ReLU", "ip", "ip")


@pytest.mark.parametrize(
    ("layers", "keys"),
    [
        ([RELU], ["ip+relu", "ip"]),
        ([layer("relu", "ReLU", "ip", "out")], ["ip+relu", "ip"]),
        ([layer("relu", "ReLU", "ip", "out"), layer("tanh", "TanH", "ip", "tanh")], ["ip"]),
        ([layer("tanh", "TanH", "data", "tanh"), RELU], ["ip"]),
        ([RELU.replace("top", "propagate_down: true top")], ["ip"]),
        ([layer("tanh", "TanH", "ip", "ip")], ["ip"]),
    ],
    ids=["in place", "beside", "read by another", "another between", "propagate_down", "another type"],
)
def test_sites(layers: list[str], keys: list[str]) -> None:
    """Layers in a row are a site where each alone reads what the one before it made; long rows come first."""
    assert [site.key for site in net(*layers).sites] == keys


SIDE = layer("ip2", "InnerProduct", "data", "ip2", "inner_product_param { num_output: 4 }")
SIDE_RELU = layer("relu2", "ReLU", "ip2", "out2")
JOIN = 'layer { name: "join" type: "Concat" bottom: "out2" bottom: "ip" top: "join" }\n'


@pytest.mark.parametrize(
    ("layers", "is_site"),
    [
        ([RELU, SIDE, SIDE_RELU, JOIN], True),
        ([SIDE, SIDE_RELU, RELU, JOIN, layer("tanh", "TanH", "join", "tanh")], True),
        ([RELU, SIDE, SIDE_RELU, JOIN, layer("tanh", "TanH", "out2", "tanh")], False),
        ([RELU, SIDE, SIDE_RELU, layer("tanh", "TanH", "out2", "tanh"), JOIN], False),
        ([RELU, SIDE, SIDE_RELU, JOIN.replace("out2", "ip")], False),
        ([RELU, SIDE, SIDE_RELU, JOIN.replace("out2", "ip2")], False),
        ([RELU, SIDE, SIDE_RELU, JOIN.replace("out2", "data")], False),
        ([RELU, SIDE, SIDE_RELU.replace("top", "propagate_down: true top"), JOIN], False),
        ([RELU, SIDE, SIDE_RELU, JOIN.replace("top", "propagate_down: [true, false] top")], False),
        ([RELU, SIDE, SIDE_RELU.replace("top", "loss_weight: 1 top"), JOIN], False),
    ],
    ids=["apart", "side by side", "read later", "read before", "twice", "no ReLU", "an input", "ReLU's propagate_down",
         "join's propagate_down", "loss"],
)  # fmt: skip
def test_joins(layers: list[str], is_site: bool) -> None:
    """Branches are a site with the layer that joins them where it alone reads each of them, once."""
    joins = [site for site in net(*layers).sites if site.layers[-1].node.name == "join"]
    assert [site.key for site in joins] == ["relu2+relu+join"] * is_site
    for site in joins:
        assert [(reader.node.name, place) for reader, place in site.reads] == [("relu2", 0), ("relu", 0)]


def test_a_join_hides_its_branches() -> None:
    """A join is computed by its form in a pass that does not return what a branch makes, and only there."""
    made = net(RELU, SIDE, SIDE_RELU, JOIN)
    plain = made(data=X, blobs=("ip2", "ip", "join"))
    made.use_forms({"relu2+relu+join": "one_buffer"})
    assert "one_buffer" in made.code
    assert torch.equal(made(data=X, blobs=("ip2", "join"))["join"], plain["join"])
    again = made(data=X, blobs=("ip2", "ip", "join"))
    assert all(torch.equal(again[name], blob) for name, blob in plain.items())


def test_a_net_computes_in_the_forms_it_is_told() -> None:
    """A form takes the place of its layers; a site that shares a layer with one before is left out; other names and
    none are plain."""
    made = net(RELU)
    (plain,) = made(data=X).values()
    for names, factor in [({"ip+relu": "doubled", "ip": "tripled"}, 2), ({"ip": "tripled"}, 3), ({"ip": "none"}, 1)]:
        made.use_forms(names)
        assert torch.equal(made(data=X)["ip"], factor * plain)
    assert "ip_tripled" not in made.code


def test_a_blob_that_is_asked_for_is_there() -> None:
    """A form that hides a blob is not used in a pass that returns it."""
    made = net(layer("relu", "ReLU", "ip", "out"))
    plain = made(data=X, blobs=("ip", "out"))
    made.use_forms({"ip+relu": "doubled"})
    assert torch.equal(made(data=X)["out"], 2 * plain["out"])
    again = made(data=X, blobs=("ip", "out"))
    assert torch.equal(again["ip"], plain["ip"])
    assert torch.equal(again["out"], plain["out"])


def test_hooks_see_their_layers() -> None:
    """A layer with a hook is called itself as long as it has it."""
    made, seen = net(RELU), []
    (plain,) = made(data=X).values()
    made.use_forms({"ip+relu": "doubled"})
    hook = made.layers["relu"].register_forward_hook(lambda *_: seen.append(1))
    assert torch.equal(made(data=X)["ip"], plain)
    assert seen == [1]
    hook.remove()
    assert torch.equal(made(data=X)["ip"], 2 * plain)


def test_forms_hold_nothing_of_their_own() -> None:
    """Blobs, their names and the saved state are those of the layers; a copy computes with its own."""
    made = net(RELU)
    names = list(made.state_dict())
    made.use_forms({"ip+relu": "doubled"})
    assert list(made.state_dict()) == names
    other = copy.deepcopy(made)
    other.layer_params["ip"][0].data.zero_()
    assert made(data=X)["ip"].any()
    assert not other(data=X)["ip"].any()
    assert torch.equal(pickle.loads(pickle.dumps(made))(data=X)["ip"], made(data=X)["ip"])
