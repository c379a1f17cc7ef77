"""Nets written from Python in pycaffe's way: names, fields, order, and what is said of a mistake."""
# ruff: noqa: C408  # dict(...) is how pycaffe's users write a message

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netspec import NetSpec, parse_net, to_proto, to_text
from netspec import layers as L
from netspec import params as P
from netspec.layers import LAYER_TYPES
from netspec.layers.sources import SOURCE_TYPES
from netspec.schema.netspec_pb2 import FillerParameter, LayerParameter, NetParameter


def lenet() -> NetSpec:
    """The net of pycaffe's first example."""
    n = NetSpec()
    n.data, n.label = L.Data(
        batch_size=64, backend=P.Data.LMDB, source="train_lmdb", transform_param=dict(scale=1 / 255), ntop=2
    )
    n.conv1 = L.Convolution(n.data, kernel_size=5, num_output=20, weight_filler=dict(type="xavier"))
    n.pool1 = L.Pooling(n.conv1, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.fc1 = L.InnerProduct(n.pool1, num_output=500, weight_filler=dict(type="xavier"))
    n.relu1 = L.ReLU(n.fc1, in_place=True)
    n.score = L.InnerProduct(n.relu1, num_output=10, weight_filler=dict(type="xavier"))
    n.loss = L.SoftmaxWithLoss(n.score, n.label)
    return n


LENET = """
layer { name: "data" type: "Data" top: "data" top: "label" transform_param { scale: 0.00392156862745098 }
        data_param { source: "train_lmdb" batch_size: 64 backend: LMDB } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
        convolution_param { num_output: 20 kernel_size: 5 weight_filler { type: "xavier" } } }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
        pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "fc1" type: "InnerProduct" bottom: "pool1" top: "fc1"
        inner_product_param { num_output: 500 weight_filler { type: "xavier" } } }
layer { name: "relu1" type: "ReLU" bottom: "fc1" top: "fc1" }
layer { name: "score" type: "InnerProduct" bottom: "fc1" top: "score"
        inner_product_param { num_output: 10 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }
"""


def test_pycaffes_example() -> None:
    """LeNet as pycaffe's notebooks write it is LeNet's text, and that text reads back the same."""
    param = lenet().to_proto()
    assert param == parse_net(LENET)
    assert parse_net(to_text(param)) == parse_net(str(param)) == param


def data() -> Any:
    return L.Input(shape=dict(dim=[1, 3, 8, 8]))


@pytest.mark.parametrize(
    ("write", "text"),
    [
        (lambda x: L.Pooling(x, pool=1, kernel_size=2), "pooling_param { pool: AVE kernel_size: 2 }"),
        (lambda x: L.Pooling(x, pool="AVE", kernel_size=2), "pooling_param { pool: AVE kernel_size: 2 }"),
        (lambda x: L.Convolution(x, kernel_size=[3, 5]), "convolution_param { kernel_size: [3, 5] }"),
        (lambda x: L.Convolution(x, kernel_size=np.array([3, 5])), "convolution_param { kernel_size: [3, 5] }"),
        (lambda x: L.Convolution(x, num_output=np.int64(4)), "convolution_param { num_output: 4 }"),
        (lambda x: L.Convolution(x, kernel_size=[]), ""),
        (lambda x: L.Convolution(x, bias_filler={}), "convolution_param { bias_filler { } }"),
        (
            lambda x: L.Convolution(x, weight_filler=FillerParameter(type="msra")),
            'convolution_param { weight_filler { type: "msra" } }',
        ),
        (lambda x: L.Convolution(x, param=[dict(lr_mult=1), {}]), "param { lr_mult: 1 } param { }"),
        (lambda x: L.Convolution(x, param=dict(name="w", lr_mult=0)), 'param { name: "w" lr_mult: 0 }'),
        (
            lambda x: L.Convolution(x, num_output=2, convolution_param=dict(group=2)),
            "convolution_param { num_output: 2 group: 2 }",
        ),
        (
            lambda x: L.Deconvolution(x, convolution_param=dict(num_output=2, kernel_size=4)),
            "convolution_param { num_output: 2 kernel_size: 4 }",
        ),
        (
            lambda x: L.Convolution(x, include=dict(phase="TEST", stage=["a", "b"])),
            'include { phase: TEST stage: ["a", "b"] }',
        ),
        (lambda x: L.Convolution(x, loss_weight=0.5, propagate_down=False), "loss_weight: 0.5 propagate_down: false"),
        (lambda x: L.LRN(x, norm_region=P.LRN.WITHIN_CHANNEL), "lrn_param { norm_region: WITHIN_CHANNEL }"),
        (lambda x: L.PReLU(x, channel_shared=True), "prelu_param { channel_shared: true }"),
        (
            lambda x: L.Python(x, module="m", layer="X", param_str="{'a': 1}"),
            """python_param { module: "m" layer: "X" param_str: "{'a': 1}" }""",
        ),
    ],
)
def test_keywords_go_where_they_belong(write: Callable[[Any], Any], text: str) -> None:
    """A keyword is a field of the type's own message or of the layer; lists, dicts and messages are its values."""
    written = write(data()).to_proto().layer[-1]
    kind = written.type
    wanted = f'layer {{ name: "{kind}1" type: "{kind}" bottom: "Input1" top: "{kind}1" {text} }}'
    assert written == parse_net(wanted).layer[0]


def names(param: NetParameter) -> list[tuple[str, str, str]]:
    """Name, bottoms and tops of every layer."""
    return [(layer.name, " ".join(layer.bottom), " ".join(layer.top)) for layer in param.layer]


def test_a_block_as_scripts_write_it() -> None:
    """Functions that return a layer and those in place on it, one of them for each phase, named through strings."""

    def block(bottom: Any) -> tuple[Any, ...]:
        conv = L.Convolution(bottom, num_output=np.array([8, 16])[1], kernel_size=1, param=[dict(lr_mult=1)] * 2)
        norms = [
            L.BatchNorm(conv, in_place=True, include=dict(phase=phase), use_global_stats=phase == 1) for phase in (0, 1)
        ]
        return conv, *norms, L.Scale(conv, scale_param=dict(bias_term=True), in_place=True), L.ReLU(conv, in_place=True)

    n = NetSpec()
    n.data, n.label = L.Python(module="m", layer="Source", ntop=2, param_str=str(dict(split="train", mean=(1, 2))))
    (n.conv1, n.bn1_train, n["bn1_test"], n.scale1, n.relu1) = block(n.data)
    setattr(n, "loss/1", L.SoftmaxWithLoss(getattr(n, "relu" + "1"), n.label, loss_param=dict(ignore_label=255)))
    written = n.to_proto()
    assert names(written) == [
        ("data", "", "data label"),
        ("conv1", "data", "conv1"),
        *((name, "conv1", "conv1") for name in ("bn1_train", "bn1_test", "scale1", "relu1")),
        ("loss/1", "conv1 label", "loss/1"),
    ]
    assert [layer.include[0].phase for layer in written.layer[2:4]] == [0, 1]
    assert (
        parse_net(str(written)) == written
        and written.layer[0].python_param.param_str == "{'split': 'train', 'mean': (1, 2)}"
    )


def test_what_is_not_named_is_numbered_by_type() -> None:
    """As in pycaffe: a layer is named after its first top, and tops without a name count up by the layer's type."""
    n = NetSpec()
    first, n.second, third = L.Slice(data(), ntop=3)
    n["a/b"] = L.Eltwise(L.ReLU(first, in_place=True), L.ReLU(third))
    n.quiet = L.Silence(n.second, ntop=0)
    assert names(n.to_proto()) == [
        ("Input1", "", "Input1"),
        ("Slice1", "Input1", "Slice1 second Slice2"),
        ("ReLU1", "Slice1", "Slice1"),
        ("ReLU2", "Slice2", "ReLU2"),
        ("a/b", "Slice1 ReLU2", "a/b"),
        ("quiet", "second", ""),
    ]


def test_numbers_avoid_names_that_are_taken() -> None:
    """A top without a name never gets one that another top was given."""
    n = NetSpec()
    n.ReLU1 = L.ReLU(L.ReLU(data()))
    assert names(n.to_proto())[1:] == [("ReLU2", "Input1", "ReLU2"), ("ReLU1", "ReLU2", "ReLU1")]


def test_names_and_tops_given_as_keywords() -> None:
    """`name` wins over the top's name; tops given by name come behind, as where two layers feed one blob."""
    n = NetSpec()
    n.data = L.Input(name="images", shape=dict(dim=1), include=dict(phase="TRAIN"))
    n.test = L.Input(name="images", top=["data"], ntop=0, shape=dict(dim=1), include=dict(phase="TEST"))
    assert names(n.to_proto()) == [("images", "", "data"), ("images", "", "data")]


def test_layers_come_in_the_order_of_naming_behind_what_they_read() -> None:
    """A layer that is read before it is named stands where it is first needed, and only once."""
    n = NetSpec()
    x = data()
    shared = L.ReLU(x)
    n.a = L.TanH(shared)
    n.b = L.Eltwise(n.a, shared)
    n.data = x
    assert [layer.name for layer in n.to_proto().layer] == ["data", "ReLU1", "a", "b"]


def test_nets_without_names_may_be_deep() -> None:
    """A chain of thousands of layers is written without recursion."""
    top = data()
    for _ in range(3000):
        top = L.ReLU(top)
    assert to_proto(top).layer[3000].bottom == ["ReLU2999"]


def test_to_proto_writes_what_its_tops_need() -> None:
    """The module's function and a top's method write a net from tops alone."""
    x = data()
    left, right = L.ReLU(x), L.TanH(x)
    assert names(to_proto(right, left))[1:] == [("TanH1", "Input1", "TanH1"), ("ReLU1", "Input1", "ReLU1")]
    assert names(left.to_proto()) == [("Input1", "", "Input1"), ("ReLU1", "Input1", "ReLU1")]


def test_tops_by_name() -> None:
    """Tops are read, listed, replaced and deleted by name, as attributes and as items."""
    n = NetSpec()
    n.data = data()
    n["update"] = L.ReLU(n["data"])
    assert n.data is n["data"] is n.tops["data"]
    assert n.keys() == ["data", "update"] and n.vals() == [n.data, n["update"]]
    del n["update"]
    assert n.keys() == ["data"] and not hasattr(n, "relu")
    assert copy.deepcopy(n).to_proto() == n.to_proto()


def test_update_replaces_keywords() -> None:
    """`update` gives a layer's keywords anew and leaves the others; a wrong one changes nothing."""
    n = NetSpec()
    n.data = data()
    n.conv = L.Convolution(n.data, num_output=2, kernel_size=3)
    n.update("conv", dict(kernel_size=5, name="c"))
    with pytest.raises(TypeError, match="strid"):
        n.update("conv", dict(kernel_size=7, strid=2))
    written = n.to_proto().layer[1]
    assert (written.name, written.convolution_param.num_output, written.convolution_param.kernel_size) == ("c", 2, [5])


def test_a_written_net_may_be_changed() -> None:
    """A net file is the caller's own: neither the spec nor the next file changes with it."""
    n = lenet()
    n.to_proto().layer[1].convolution_param.num_output = 7
    assert n.to_proto() == parse_net(LENET)


@pytest.mark.parametrize(
    ("write", "error", "message"),
    [
        (
            lambda x: L.Convolution(x, kernel_sise=3),
            TypeError,
            'Convolution has no field "kernel_sise"; did you mean "kernel_size"?',
        ),
        (lambda x: L.ReLU(x, includ={}), TypeError, 'ReLU has no field "includ"; did you mean "include"?'),
        (lambda x: L.ReLU(x, zzz=1), TypeError, 'ReLU has no field "zzz"'),
        (
            lambda x: L.Deconvolution(x, kernel_size=3),
            TypeError,
            'Deconvolution has no field "kernel_size"; it belongs into a message, as in '
            "convolution_param=dict(kernel_size=...)",
        ),
        (
            lambda x: L.LSTM(x, x, num_output=3),
            TypeError,
            'LSTM has no field "num_output"; it belongs into a message, as in recurrent_param=dict(num_output=...)',
        ),
        (lambda x: L.Silence(x, nam="a"), TypeError, 'Silence has no field "nam"; did you mean "name"?'),
        (
            lambda x: L.Convolution(x, weight_filler=dict(typ="xavier")),
            TypeError,
            'Convolution: weight_filler has no field "typ"; did you mean "type"?',
        ),
        (
            lambda x: L.Data(transform_param={"flip": True}, ntop=2),
            TypeError,
            'Data: transform_param has no field "flip"; write mirror: true',
        ),
        (
            lambda x: L.Convolution(x, weight_filler="xavier"),
            TypeError,
            'Convolution: weight_filler takes a dict of fields, not "xavier"',
        ),
        (lambda x: L.ReLU(x, include=[3]), TypeError, "ReLU: include takes a dict of fields, not 3"),
        (
            lambda x: L.Convolution(x, num_output="20"),
            TypeError,
            'Convolution: num_output takes a whole number from 0 on, not "20"',
        ),
        (
            lambda x: L.Convolution(x, num_output=20.5),
            TypeError,
            "Convolution: num_output takes a whole number from 0 on, not 20.5",
        ),
        (
            lambda x: L.Convolution(x, pad=[1, -1]),
            ValueError,
            "Convolution: pad takes a whole number from 0 on, not -1",
        ),
        (lambda x: L.Convolution(x, num_output=[2]), TypeError, "Convolution: num_output takes one value, not a list"),
        (lambda x: L.Softmax(x, axis=None), TypeError, "Softmax: axis takes a whole number, not None"),
        (lambda x: L.ReLU(x, name=3), TypeError, "ReLU: name takes a string, not 3"),
        (lambda x: L.Convolution(x, bias_term="no"), TypeError, 'Convolution: bias_term takes a bool, not "no"'),
        (lambda x: L.Dropout(x, dropout_ratio="half"), TypeError, 'Dropout: dropout_ratio takes a number, not "half"'),
        (
            lambda x: L.Dropout(x, dropout_ratio=float("nan")),
            ValueError,
            "Dropout: dropout_ratio takes a number that a text can hold, not nan",
        ),
        (
            lambda x: L.Power(x, scale=1e39),
            ValueError,
            "Power: scale takes a number that a text can hold, not 1e+39",
        ),
        (lambda x: L.Eltwise(x, x, operation=17), ValueError, "Eltwise: operation takes one of PROD, SUM, MAX, not 17"),
        (
            lambda x: L.Eltwise(x, x, operation="SUMM"),
            ValueError,
            'Eltwise: operation has no value "SUMM"; did you mean "SUM"?',
        ),
        (lambda x: L.ReLU("data"), TypeError, "ReLU: bottom 0 is of type str; it must be a top of another layer"),
        (
            lambda x: L.ReLU(L.Silence(x, ntop=0)),
            TypeError,
            "ReLU: bottom 0 is of type Function; it must be a top of another layer",
        ),
        (lambda x: L.Slice(x, ntop=2, in_place=True), TypeError, "Slice: in_place needs a bottom for each top"),
        (
            lambda x: L.Convolutoin,
            AttributeError,
            'there is no layer type "Convolutoin"; did you mean "Convolution"?',
        ),
        (
            lambda x: L.convolutions,
            AttributeError,
            'there is no layer type "convolutions"; did you mean "Convolution"?',
        ),
        (lambda x: P.Poolin, AttributeError, 'there is no message "PoolinParameter"; did you mean "Pooling"?'),
        (lambda x: P.Pooling.MAXX, AttributeError, 'PoolingParameter has no value "MAXX"; did you mean "MAX"?'),
        (lambda x: lenet().conv2, AttributeError, 'the net has no top "conv2"; did you mean "conv1"?'),
        (
            lambda x: setattr(NetSpec(), "data", L.Data(ntop=2)),
            TypeError,
            '"data" names one top, but the layer has 2: give each a name',
        ),
        (
            lambda x: setattr(NetSpec(), "data", "data"),
            TypeError,
            '"data" must be a top of a layer, not of type str',
        ),
    ],
)
def test_mistakes_are_named_at_the_call(write: Callable[[Any], Any], error: type[Exception], message: str) -> None:
    """A wrong field, value, bottom or name is refused where it is written, with the nearest right one."""
    with pytest.raises(error) as caught:
        write(data())
    assert str(caught.value) == message


def test_a_missing_item_is_a_key_error() -> None:
    """Items fail as those of a dict do, with the nearest name."""
    with pytest.raises(KeyError, match='did you mean "conv1"'):
        lenet()["conv2"]


def test_every_type_can_be_written() -> None:
    """Each registered type is a function of `layers`; its submodules keep their names."""
    for kind in (*LAYER_TYPES, *SOURCE_TYPES, "Input"):
        assert getattr(L, kind)(ntop=0).type_name == kind
    assert L.loss.__name__ == "netspec.layers.loss"


def test_params_are_the_enums_numbers() -> None:
    """`params` has every value of every enum inside a layer's message."""
    assert (P.Pooling.MAX, P.Pooling.AVE, P.Eltwise.SUM, P.Data.LMDB, P.Loss.VALID) == (0, 1, 1, 1, 1)
    for layer_field in LayerParameter.DESCRIPTOR.fields:
        message = layer_field.message_type
        if message is not None and message.name.endswith("Parameter"):
            for value in (value for enum in message.enum_types for value in enum.values):
                assert getattr(getattr(P, message.name.removesuffix("Parameter")), value.name) == value.number


FILLER = {"type": st.text(), "std": st.floats(width=32, allow_nan=False, allow_infinity=False)}
SPEC = {"lr_mult": st.floats(0, 1e6), "name": st.text()}
FIELDS = {
    "num_output": st.integers(0, 2**32 - 1),
    "kernel_size": st.lists(st.integers(0, 2**32 - 1), max_size=3),
    "bias_term": st.booleans(),
    "axis": st.integers(-(2**31), 2**31 - 1),
    "engine": st.sampled_from(["DEFAULT", "CAFFE", "CUDNN", 0, 1, 2]),
    "weight_filler": st.fixed_dictionaries({}, optional=FILLER),
    "name": st.text(),
    "loss_weight": st.floats(-1e30, 1e30),
    "param": st.lists(st.fixed_dictionaries({}, optional=SPEC)),
}


@given(st.fixed_dictionaries({}, optional=FIELDS))
def test_every_text_written_reads_back_the_same(params: dict[str, Any]) -> None:
    """Whatever the keywords, the text of the net says the same as the message."""
    param = L.Convolution(data(), **params).to_proto()
    assert parse_net(to_text(param)) == param
