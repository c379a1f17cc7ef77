"""Older dialects: what becomes of every field, what is refused, and where a mistake in an old text is shown."""

import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netspec import Net, Solver, SpecError, parse_net, parse_solver, read_net, read_solver, to_text
from netspec.overrides import Overrides
from netspec.schema.netspec_pb2 import TRAIN, BlobProto, NetParameter, SolverParameter, V1LayerParameter
from netspec.spec import Document, parse
from netspec.upgrade import net_document, older_net_forms, older_solver_forms, solver_document, upgrade_net

FOLDER = Path(__file__).parent / "upgrade"
OLD_NETS = sorted(FOLDER.glob("*.old.prototxt"))
OLD_SOLVERS = sorted(FOLDER.glob("*.old.solver"))


def new_of(path: Path) -> Path:
    """The text in today's form that stands beside an old one."""
    return path.with_name(path.name.replace(".old.", ".new."))


@pytest.mark.parametrize("path", OLD_NETS, ids=lambda path: path.name)
def test_an_old_net_becomes_what_caffe_makes_of_it(path: Path) -> None:
    """Every net in the folder `upgrade` becomes the one beside it, which is left as it is."""
    new = parse(new_of(path).read_text(), NetParameter)
    assert to_text(read_net(path)) == to_text(new.message)
    assert net_document(new) is new


@pytest.mark.parametrize("path", OLD_SOLVERS, ids=lambda path: path.name)
def test_an_old_solver_becomes_what_caffe_makes_of_it(path: Path) -> None:
    """The same for solvers, with the nets that are written out in them."""
    new = parse(new_of(path).read_text(), SolverParameter)
    assert to_text(read_solver(path)) == to_text(new.message)
    assert solver_document(new) is new


BUILT = {
    "v0_imagenet": {},
    "v0_cifar": {"data": (2, 3, 28, 28), "label": (2,)},
    "v1_cifar_deploy": {},
    "v1_deeplab": {},
    "input_dim": {},
    "input_shape": {},
    "v1_lenet": {"data": (2, 1, 28, 28), "label": (2,)},
    "v1_alexnet": {"data": (2, 3, 67, 67), "label": (2,)},
}


ONLY_TRAIN = ("v1_alexnet",)


@pytest.mark.parametrize(
    ("name", "phase"),
    [(name, phase) for name in BUILT for phase in ("TRAIN", "TEST") if phase == "TRAIN" or name not in ONLY_TRAIN],
)
def test_both_forms_are_one_net(name: str, phase: str) -> None:
    """Built from the old text and from the new one, shapes, params and losses are the same."""
    old, new = (Net(FOLDER / f"{name}.{age}.prototxt", phase, shapes=BUILT[name]) for age in ("old", "new"))
    assert old.blob_shapes == new.blob_shapes
    assert old.loss_weights == new.loss_weights
    assert [(p.layer, p.lr_mult, p.decay_mult) for p in old.params] == [
        (p.layer, p.lr_mult, p.decay_mult) for p in new.params
    ]


def test_every_type_of_v1_has_a_name_today() -> None:
    """Each value of the enum becomes the name that the schema has beside it."""
    schema = (Path(__file__).parents[1] / "netspec/schema/netspec.proto").read_text()
    for name in V1LayerParameter.LayerType.DESCRIPTOR.values_by_name:
        words = schema.split(f" {name} = ")[1].splitlines()[0].split("// ")
        expected = "" if name == "NONE" else words[1].partition(":")[0]
        assert parse_net(f"layers {{ type: {name} }}").layer[0].type == expected


def test_a_message_in_today_s_form_is_taken_as_it_is() -> None:
    """Nothing is copied that needs no upgrade, and what is upgraded is not changed itself."""
    net = NetParameter(layer=[{"name": "a"}])
    assert upgrade_net(net) is net
    old = NetParameter(input=["a"], input_dim=[1, 2, 3, 4])
    before = old.SerializeToString()
    assert upgrade_net(old).layer[0].type == "Input"
    assert old.SerializeToString() == before


@pytest.mark.parametrize(
    ("text", "forms"),
    [
        ("", []),
        ("layer { }", []),
        ("layers { }", ["V1 layers"]),
        ("layers { layer { } }", ["V0 layers"]),
        ('input: "a" layers { }', ["V1 layers", "input fields"]),
        ("input_dim: 1", []),
    ],
)
def test_older_net_forms(text: str, forms: list[str]) -> None:
    """The older forms in a net are named."""
    assert older_net_forms(parse(text, NetParameter).message) == forms


def test_older_solver_forms() -> None:
    """The older forms in a solver and in its nets are named."""
    solver = parse("solver_type: SGD net_param { layers { } }", SolverParameter).message
    assert older_solver_forms(solver) == ["solver_type", "V1 layers in net_param"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SGD", "SGD"), ("NESTEROV", "Nesterov"), ("ADAGRAD", "AdaGrad"), ("RMSPROP", "RMSProp"),
        ("ADADELTA", "AdaDelta"), ("ADAM", "Adam"), ("0", "SGD"), ("5", "Adam"),
    ],
)  # fmt: skip
def test_solver_types(old: str, new: str) -> None:
    """Each solver_type, by word or number, becomes its type."""
    solver = parse_solver(f"solver_type: {old} base_lr: 1")
    assert solver == SolverParameter(type=new, base_lr=1)


def test_weights_move_along() -> None:
    """Blobs of both dialects come along, as they are."""
    blob = BlobProto(num=1, channels=1, height=1, width=2, data=[1, 2])
    v1 = NetParameter(layers=[{"name": "a", "type": "RELU", "blobs": [blob]}])
    v0 = NetParameter(layers=[{"layer": {"name": "a", "type": "relu", "blobs": [blob]}}])
    for net in (v0, v1):
        assert list(upgrade_net(net).layer[0].blobs) == [blob]


def test_a_field_without_effect_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """A field that a V0 type never read is left out with a warning, as in Caffe."""
    with caplog.at_level(logging.WARNING, "netspec"):
        net = parse_net('layers {\n layer { name: "a" type: "relu"\n stride: 2 } }')
    assert net == NetParameter(layer=[{"name": "a", "type": "ReLU"}])
    assert caplog.messages == ['<text>:3: stride has no effect on a layer of type "relu"']


# --- where a field of today stood in the old text ---------------------------------------------------------------------

V1 = """\
input: "data"
input_dim: 1
input_dim: 3
layers {
  name: "a" type: CONVOLUTION
  blobs_lr: 1
  blobs_lr: 2
  weight_decay: 3
  param: "w"
  convolution_param { pad: 1
    pad: 2 }
}
layers {
  type: DATA
  data_param {
    crop_size: 3 } }
input_dim: 8
input_dim: 8
"""
V0 = """\
layers {
  layer { type: "data" } top: "x" }
layers {
  bottom: "x"
  top: "p"
  layer { type: "padding"
    pad: 3 } }
layers {
  bottom: "p"
  layer { type: "conv"
    name: "c"
    pad: 1
    kernelsize: 3
    blobs_lr: 1
    blobs_lr: 2
    weight_filler {
      std: 3 }
    meanfile: "m"
  }
  top: "c" }
"""


@pytest.mark.parametrize(
    ("text", "where", "line"),
    [
        (V1, ("layer", 0), 1),
        (V1, ("layer", 0, "top", 0), 1),
        (V1, ("layer", 0, "input_param", "shape"), 2),
        (V1, ("layer", 0, "input_param", 0, "shape", 0, "dim", 2), 17),
        (V1, ("layer", 1), 4),
        (V1, ("layer", 1, "name"), 5),
        (V1, ("layer", 1, "bottom", 3), 4),
        (V1, ("layer", 1, "param", 1), 7),
        (V1, ("layer", 1, "param", 0, "decay_mult"), 8),
        (V1, ("layer", 1, "param", 0, "name"), 9),
        (V1, ("layer", 1, "param", 2), 4),
        (V1, ("layer", 1, "convolution_param", "pad"), 10),
        (V1, ("layer", 1, "convolution_param", 0, "pad", 1), 11),
        (V1, ("layer", 2, "data_param", "source"), 15),
        (V1, ("layer", 2, "transform_param", "crop_size"), 16),
        (V0, ("layer", 0, "top", 0), 2),
        (V0, ("layer", 1), 10),
        (V0, ("layer", 1, "name"), 11),
        (V0, ("layer", 1, "bottom", 0), 4),
        (V0, ("layer", 1, "top", 0), 20),
        (V0, ("layer", 1, "convolution_param", "pad"), 7),
        (V0, ("layer", 1, "convolution_param", 0, "kernel_size", 0), 13),
        (V0, ("layer", 1, "convolution_param", "weight_filler", 0, "std"), 17),
        (V0, ("layer", 1, "param", 1, "lr_mult", 0), 15),
        (V0, ("layer", 1, "transform_param", "mean_file"), 18),
    ],
)
def test_a_mistake_is_shown_in_the_old_text(text: str, where: tuple[str | int, ...], line: int) -> None:
    """The position of a field of the upgraded net is the line of the old text that gave it."""
    assert net_document(parse(text, NetParameter)).position(*where)[0] == line


def test_a_mistake_in_a_solver_is_shown_in_the_old_text() -> None:
    """The type stands where the solver_type stood, a net's layers inside the solver's text."""
    text = "base_lr: 1\nsolver_type: ADAM\nnet_param {\n  layers {\n    blobs_lr: 2 } }"
    document = solver_document(parse(text, SolverParameter))
    assert document.position("type") == (2, 1)
    part = document.part(document.message.net_param, "net_param")
    assert net_document(part) is part
    assert part.position("layer", 0, "param", 0, "lr_mult") == (5, 5)
    assert document.position("net_param", 0, "layer", 0, "param", 0, "lr_mult") == (5, 5)


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason", "line"),
    [
        ("layer { }\nlayers { }", 'a net has "layer" or the older "layers", not both', 2),
        ('layers {\nlayer { type: "cnv" } }', 'there is no layer type "cnv" in this old form', 2),
        ("layers { layer { } }\nlayers { }", 'a layer without a "layer" inside, in a net of layers with one', 2),
        ("layers { layer { }\nblobs_lr: 1 }", 'blobs_lr must stand inside "layer" here', 2),
        ('input: "a" input: "b"\ninput_dim: [1, 2, 3, 4]', "4 input_dim where 8 are needed: 4 for each input", 2),
        ('input: "a" input: "b"\ninput_shape { }', "1 input_shape where 2 are needed: one for each input", 2),
        ('input: "a" input_shape { }\ninput_dim: [1]', "input_shape and input_dim are two forms of the same", 2),
    ],
)
def test_wrong_old_forms(text: str, reason: str, line: int) -> None:
    """What Caffe's rules forbid, or would drop in silence, is refused where it stands."""
    with pytest.raises(SpecError) as caught:
        parse_net(text)
    assert caught.value.reason.startswith(reason)
    assert caught.value.line == line


PADDING = 'layers {{ layer {{ type: "data" }} top: "x" top: "y" }} layers {{\n layer {{ type: "padding" }} {} }}\n'


@pytest.mark.parametrize(
    ("padding", "reader", "reason", "line"),
    [
        (
            'bottom: "x" top: "p"',
            'layer { type: "relu" } bottom: "p"',
            'is read by a layer of type "conv" or "pool"',
            3,
        ),
        ('bottom: "x" top: "p"', 'layer { type: "padding" } bottom: "p" top: "q"', 'not "padding"', 3),
        ('bottom: "x" top: "p"', 'layer { type: "conv" } bottom: "x" bottom: "p"', "has one bottom", 3),
        ('bottom: "x" bottom: "y" top: "p"', 'layer { type: "conv" } bottom: "p"', "one bottom and one top", 1),
        ('bottom: "x" top: "p" top: "q"', 'layer { type: "pool" } bottom: "p"', "one bottom and one top", 1),
    ],
)
def test_padding_layers_that_caffe_refuses(padding: str, reader: str, reason: str, line: int) -> None:
    """A padding layer with one bottom and one top is read by conv or pool alone."""
    with pytest.raises(SpecError, match=reason) as caught:
        parse_net(PADDING.format(padding) + f"layers {{ {reader} }}")
    assert caught.value.line == line


def test_a_padding_layer_s_bottom_is_looked_for_where_it_stands() -> None:
    """A padding layer that reads nothing is wrong at its own bottom, though it is gone."""
    text = PADDING.format('bottom: "z" top: "p"') + 'layers { layer { type: "conv" } bottom: "p" top: "c" }'
    with pytest.raises(SpecError, match='no layer makes the blob "z"') as caught:
        Net(parse(text.replace('{ type: "data" } top: "x" top: "y"', '{ type: "split" }'), NetParameter))
    assert caught.value.line == 2


def test_a_solver_with_both_types() -> None:
    """As in Caffe, type and solver_type together are refused, even where they agree."""
    with pytest.raises(SpecError, match='a solver has "type" or the older "solver_type", not both') as caught:
        parse_solver('type: "SGD"\nsolver_type: SGD')
    assert caught.value.line == 2


# --- any net ----------------------------------------------------------------------------------------------------------

names = st.sampled_from("abc")
v1_layers = st.fixed_dictionaries(
    {},
    optional={
        "name": names,
        "type": st.sampled_from(V1LayerParameter.LayerType.values()),
        "bottom": st.lists(names, max_size=2),
        "top": st.lists(names, max_size=2),
        "blobs_lr": st.lists(st.integers(0, 9), max_size=3),
        "weight_decay": st.lists(st.integers(0, 9), max_size=3),
        "param": st.lists(names, max_size=3),
        "data_param": st.fixed_dictionaries({}, optional={"crop_size": st.integers(0, 9), "source": names}),
        "include": st.lists(st.just({"phase": "TRAIN"}), max_size=1),
    },
)
v0_types = st.sampled_from(["conv", "pool", "data", "padding", "innerproduct", "relu"])
v0_layers = st.fixed_dictionaries(
    {
        "layer": st.fixed_dictionaries(
            {"type": v0_types},
            optional={"pad": st.integers(0, 9), "stride": st.integers(1, 9), "blobs_lr": st.lists(st.just(1.0))},
        ),
        "bottom": st.lists(names, max_size=1),
        "top": st.lists(names, max_size=1),
    }
)
old_nets = st.builds(
    lambda layers, input: NetParameter(name="n", layers=layers, input=input, input_dim=[1, 2, 3, 4] * len(input)),
    st.lists(v1_layers, max_size=4) | st.lists(v0_layers, max_size=4),
    st.lists(names, max_size=2),
)


@settings(max_examples=200)
@given(old_nets)
def test_an_upgraded_net_is_in_today_s_form(net: NetParameter) -> None:
    """Upgrading once is enough, loses no layer but paddings, and shows every layer in the old text."""
    try:
        document = net_document(net)
    except SpecError as error:
        assert "padding" in str(error)
        return
    assert older_net_forms(document.message) == []
    assert net_document(document) is document
    kept = [layer for layer in net.layers if layer.layer.type != "padding"]
    assert len(document.message.layer) == len(kept) + bool(net.input)
    for index in range(bool(net.input), len(document.message.layer)):
        line = document.text.split("\n")[document.position("layer", index)[0] - 1]
        assert line.strip() in ("layers {", "layer {")


def test_a_document_without_text_can_be_upgraded() -> None:
    """A message whose text nobody wants is upgraded without printing it."""
    document = Document(NetParameter(layers=[{"name": "a"}]), "", "a.caffemodel")
    assert net_document(document).position("layer", 0, "name") == (1, 1)


# --- a whole run ------------------------------------------------------------------------------------------------------

OLD_RUN = """\
layers {
  name: "data" type: DATA top: "data" top: "label"
  data_param { source: "DIGITS/train_lmdb" batch_size: 8 backend: LMDB scale: 0.0078125 crop_size: 6 }
}
layers {
  name: "ip" type: INNER_PRODUCT bottom: "data" top: "ip" blobs_lr: 1 blobs_lr: 2 weight_decay: 1 weight_decay: 0
  inner_product_param { num_output: ${CLASSES} weight_filler { type: "xavier" } }
}
layers { name: "loss" type: SOFTMAX_LOSS bottom: "ip" bottom: "label" top: "loss" }
"""
NEW_RUN = """\
layer {
  name: "data" type: "Data" top: "data" top: "label"
  transform_param { scale: 0.0078125 crop_size: 6 }
  data_param { source: "DIGITS/train_lmdb" batch_size: 8 backend: LMDB }
}
layer {
  name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 decay_mult: 0 }
  inner_product_param { num_output: 10 weight_filler { type: "xavier" } }
}
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
SOLVER = """\
train_net: "FOLDER/net.prototxt"
base_lr: 0.1 momentum: 0.9 weight_decay: 0.01 lr_policy: "fixed" max_iter: 3 random_seed: 7 solver_mode: 0
"""
DEFINE = {"CLASSES": "10", "M": "0.9"}


def losses(folder: Path, net: str, solver: str, **options: Any) -> list[float]:
    """The losses of three iterations."""
    digits = Path(__file__).parents[1] / "netspec/data/digits"
    (folder / "net.prototxt").write_text(net.replace("DIGITS", str(digits)))
    (folder / "run.solver").write_text(solver.replace("FOLDER", str(folder)))
    run = Solver(folder / "run.solver", **options)
    found = []
    for _ in range(3):
        run.step(1)
        found.append(run.loss)
    run.close()
    return found


def test_an_old_run_is_the_run_of_today(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old solver, old net and variables in both train to the same losses as the texts of today, to the bit."""
    monkeypatch.setenv("NETSPEC_CACHE", str(tmp_path / "cache"))
    old = losses(tmp_path, OLD_RUN, SOLVER.replace("0.9", "$M") + "solver_type: SGD", define=DEFINE)
    assert old == losses(tmp_path, NEW_RUN, SOLVER + 'type: "SGD"')
    assert old != losses(tmp_path, NEW_RUN, SOLVER.replace("0.9", "0.8"))


def test_settings_reach_an_old_net(tmp_path: Path) -> None:
    """A setting names the fields of today, whatever the form of the text."""
    path = tmp_path / "net.prototxt"
    path.write_text(OLD_RUN)
    document = Overrides(["ip.param=[{ lr_mult: 5 }]"], DEFINE).applied_to_net(path, TRAIN)
    assert [param.lr_mult for param in document.message.layer[1].param] == [5]
    assert document.position("layer", 1, "inner_product_param", "num_output") == (7, 25)


def test_the_older_type_cannot_be_set() -> None:
    """A setting of solver_type would say two things with the type of the file."""
    with pytest.raises(SpecError, match='"solver_type" is the older form of "type"'):
        Solver(parse_solver(SOLVER), solver_type="ADAM")
