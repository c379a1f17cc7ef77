"""Layers built from a graph: their shapes, keys, loss weights; what is told of shapes from outside."""

import pytest
import torch

from netspec import SpecError
from netspec.compiler import Compiled, compile_graph, field_holding
from netspec.graph import build, net_state
from netspec.layers.base import Shape
from netspec.schema.netspec_pb2 import FillerParameter, NetParameter
from netspec.spec import parse

DATA = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [2, 3, 8, 8] } } }\n'
LABEL = 'layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 2 } } }\n'
NO_DATA = (
    'layer { name: "data" type: "Data" top: "data" top: "label" data_param { source: "nowhere" batch_size: 5 } }\n'
)


def compiled(text: str, phase: str = "TEST", **given: Shape) -> Compiled:
    return compile_graph(build(parse(text, NetParameter), net_state(phase)), given)


def layer(name: str, kind: str, bottoms: str, tops: str, rest: str = "") -> str:
    fields = [*(f'bottom: "{b}"' for b in bottoms.split()), *(f'top: "{t}"' for t in tops.split())]
    return f'layer {{ name: "{name}" type: "{kind}" {" ".join(fields)} {rest} }}\n'


def test_shapes_of_all_blobs_in_order() -> None:
    """Every top has its shape, in the order of the layers."""
    text = (
        DATA
        + layer("conv", "Convolution", "data", "conv", "convolution_param { num_output: 4 kernel_size: 3 }")
        + layer("slice", "Slice", "conv", "a b", "slice_param { slice_point: 1 }")
        + layer("ip", "InnerProduct", "b", "ip", "inner_product_param { num_output: 5 }")
        + layer("silence", "Silence", "a ip", "")
    )
    shapes = {"data": (2, 3, 8, 8), "conv": (2, 4, 6, 6), "a": (2, 1, 6, 6), "b": (2, 3, 6, 6), "ip": (2, 5)}
    assert list(compiled(text).shapes.items()) == list(shapes.items())


def test_nothing_is_allocated_to_find_shapes() -> None:
    """Blobs stay on the meta device until the params are allocated, however large they are."""
    text = DATA + layer("ip", "InnerProduct", "data", "ip", "inner_product_param { num_output: 2000000000 }")
    built = compiled(text)
    assert built.shapes["ip"] == (2, 2000000000)
    assert all(blob.is_meta for blob in built.layers[0].module.blobs())


@pytest.mark.parametrize(
    ("text", "given", "shapes"),
    [
        (DATA, {"data": (1, 3, 5, 5)}, {"data": (1, 3, 5, 5)}),
        (DATA + LABEL, {"label": (7,)}, {"data": (2, 3, 8, 8), "label": (7,)}),
        (DATA.replace('top: "data"', 'top: "data" top: "more"'), {}, {"data": (2, 3, 8, 8), "more": (2, 3, 8, 8)}),
        (DATA.replace("input_param { shape { dim: [2, 3, 8, 8] } }", ""), {"data": (1, 2)}, {"data": (1, 2)}),
        (NO_DATA, {"data": (5, 3), "label": (5,)}, {"data": (5, 3), "label": (5,)}),
        ('layer { name: "x" type: "Input" top: "x" input_param { shape { } } }', {}, {"x": ()}),
    ],
)
def test_shapes_of_inputs(text: str, given: dict[str, Shape], shapes: dict[str, Shape]) -> None:
    """An input has the shape it is given, otherwise its own; data whose tops are all given is not opened."""
    built = compiled(text, **given)
    assert built.shapes == shapes
    assert built.inputs == list(shapes)
    assert built.sources == []


@pytest.mark.parametrize("given", [{}, {"data": (5, 3)}])
def test_data_that_is_not_all_given_is_opened(given: dict[str, Shape]) -> None:
    """A data layer with a top left open needs its source."""
    with pytest.raises(SpecError, match='"nowhere" is not there'):
        compiled(NO_DATA, **given)


def test_a_given_shape_for_what_is_no_input() -> None:
    """A shape for a blob that is no input is an error that lists the inputs."""
    with pytest.raises(ValueError, match=r'"dta", which is no input of this net \(data, label\)'):
        compiled(DATA + LABEL, dta=(1,))


def test_a_layer_that_torch_refuses() -> None:
    """What torch says of shapes that a layer did not check becomes a SpecError at the layer."""
    text = DATA + layer("up", "Upsample", "data", "up", "upsample_param { scale: 4294967295 }")
    reason = (
        r'layer "up": Upsample cannot take bottoms of shape \(2, 2, 8, 8\): a top would be more than any memory holds'
    )
    with pytest.raises(SpecError, match=reason):
        compiled(text, data=(2, 2, 8, 8))


SCORES = layer("ip", "InnerProduct", "data", "ip", "inner_product_param { num_output: 4 }")


@pytest.mark.parametrize(
    ("last", "weights"),
    [
        (layer("loss", "SoftmaxWithLoss", "ip label", "loss"), {"loss": 1}),
        (layer("loss", "SoftmaxWithLoss", "ip label", "loss", "loss_weight: 0.5"), {"loss": 0.5}),
        (layer("loss", "SoftmaxWithLoss", "ip label", "loss", "loss_weight: 0"), {}),
        (layer("loss", "SoftmaxWithLoss", "ip label", "loss p", "loss_weight: 2 loss_weight: 0"), {"loss": 2}),
        (layer("loss", "SoftmaxWithLoss", "ip label", "loss p", "loss_weight: [1, 3]"), {"loss": 1, "p": 3}),
        (layer("a", "ReLU", "ip", "a", "loss_weight: 0.25"), {"a": 0.25}),
        (layer("a", "ReLU", "ip", "a"), {}),
        (layer("accuracy", "Accuracy", "ip label", "accuracy"), {}),
    ],
)
def test_loss_weights(last: str, weights: dict[str, float]) -> None:
    """A loss counts with 1 unless told; told, any top counts with its weight; a weight of 0 is none."""
    assert compiled(DATA + LABEL + SCORES + last).loss_weights == weights


HARD_NAMES = ["loss", "type", "forward", "a/b", "a.b", "a-b", "a b", "1st", "class", "None", "é", "x\\\"y", "training",
              "_modules", "", "in_data", "getattr", "loss", "type", "a.b"]  # fmt: skip


def test_any_name_can_be_called() -> None:
    """Layers named like attributes, keywords, numbers, paths, or like each other have keys of their own."""
    built = compiled(DATA + "".join(layer(name.replace("\\", "\\\\").replace('"', '\\"'), "ReLU", "data", f"t{i}")
                                    for i, name in enumerate(HARD_NAMES)))  # fmt: skip
    assert [layer.node.name for layer in built.layers] == HARD_NAMES
    keys = [layer.key for layer in built.layers]
    assert len(set(keys)) == len(keys)
    assert not any(hasattr(torch.fx.GraphModule, key) for key in keys)


@pytest.mark.parametrize(("phase", "training"), [("TRAIN", True), ("TEST", False)])
def test_a_layer_is_built_in_its_phase(phase: str, training: bool) -> None:
    """Layers compute as in training just where the phase is TRAIN."""
    assert compiled(DATA + layer("drop", "Dropout", "data", "y"), phase).layers[0].module.training is training


FILLERS = "weight_filler { type: 'xavier' } bias_filler { type: 'constant' value: 1 }"


@pytest.mark.parametrize(
    ("filler", "path"),
    [
        (FillerParameter(type="xavier"), ("convolution_param", "weight_filler")),
        (FillerParameter(type="constant", value=1), ("convolution_param", "bias_filler")),
        (FillerParameter(type="msra"), ()),
    ],
)
def test_field_holding(filler: FillerParameter, path: tuple[str, ...]) -> None:
    """The field that holds a value is found, however deep, or nothing is."""
    net = parse(f"layer {{ convolution_param {{ {FILLERS} }} }}", NetParameter).message
    assert field_holding(net.layer[0], filler) == path


def test_many_layers_of_one_name() -> None:
    """Hundreds of layers of one name are built, each under a key of its own."""
    count = 400
    text = DATA + "".join(layer("a", "ReLU", "data", f"t{i}") for i in range(count))
    assert len({built.key for built in compiled(text).layers}) == count
