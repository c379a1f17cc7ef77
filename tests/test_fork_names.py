"""The table of forks is right about what is Caffe's and what is not."""

from collections.abc import Iterator

import pytest
from google.protobuf import text_format
from google.protobuf.message import Message

from netspec import forks
from netspec.check.origin import foreign
from netspec.schema import netspec_pb2
from netspec.schema.comments import comments
from netspec.spec import parse


def added_fields() -> Iterator[tuple[str, str]]:
    """Message and name of every field that Caffe does not have, in messages that it has."""
    for message in netspec_pb2.DESCRIPTOR.message_types_by_name.values():
        yield from ((message.name, field.name) for field in message.fields if field.number >= 10_000)


def test_every_added_field_is_ours_or_a_forks() -> None:
    """A field that Caffe does not have is our own, as its comment says, or the table names its fork."""
    for message, name in added_fields():
        is_ours = comments()[f"{message}.{name}"].startswith("Ours.")
        assert is_ours or forks.of_field(message, name), f"{message}.{name}"


@pytest.mark.parametrize(
    ("message", "name"),
    [("ReLUParameter", "engine"), ("ConvolutionParameter", "bias_filler"), ("LayerParameter", "name")],
)
def test_a_field_of_caffe_has_no_fork(message: str, name: str) -> None:
    """A name that a fork uses elsewhere is not taken for the fork's."""
    assert forks.of_field(message, name) == ""


def test_a_field_of_caffe_is_in_no_table() -> None:
    """No field of the table is one of Caffe's."""
    messages = netspec_pb2.DESCRIPTOR.message_types_by_name.values()
    caffes = {(message.name, field.name) for message in messages for field in message.fields if field.number < 10_000}
    assert not {field for field in caffes if field[0] not in FORK_MESSAGES} & set(forks.FIELDS)


@pytest.mark.parametrize(
    ("message", "name", "fork"),
    [
        ("TransformationParameter", "scale_min", "OpenPose's fork"),
        ("RandomResizedCropParameter", "scale_min", ""),
        ("ConvolutionParameter", "scale_min", ""),
        ("LayerParameter", "dense_crf_param", "DeepLab's fork"),
        ("V1LayerParameter", "dense_crf_param", "DeepLab's fork"),
        ("ConvolutionParameter", "dense_crf_param", ""),
        ("SolverParameter", "larc", "NVIDIA's fork"),
    ],
)
def test_a_fork_is_named_where_it_has_the_field(message: str, name: str, fork: str) -> None:
    """A field comes from a fork in the messages in which that fork has it, and in no other."""
    assert forks.of_field(message, name) == fork


FORK_MESSAGES = {"BNParameter", "InterpParameter", "NormalizeParameter", "PermuteParameter", "ROIPoolingParameter",
                 "ShuffleChannelParameter", "SmoothL1LossParameter", "UpsampleParameter"}  # fmt: skip


def test_a_name_stands_under_one_fork() -> None:
    """No table names a thing twice."""
    for table, by_name in ((forks._TYPES, forks.TYPES), (forks._FIELDS, forks.FIELDS), (forks._VALUES, forks.VALUES)):
        words = [word for names in table.values() for word in names.split()]
        assert sum(not word.endswith(":") for word in words) == len(by_name)


@pytest.mark.parametrize(
    ("bn_param", "fork"),
    [
        ("", "PSPNet's and TSN's forks"),
        ("slope_filler { value: 1 } bias_filler { } frozen: true momentum: 0.95", "PSPNet's and TSN's forks"),
        ("eps: 1e-5 engine: CUDNN", "PSPNet's and TSN's forks"),
        ("bn_mode: INFERENCE", "SegNet's fork"),
        ("scale_filler { value: 1 } shift_filler { value: 0.001 }", "SegNet's fork"),
    ],
)
def test_the_fork_of_a_bn(bn_param: str, fork: str) -> None:
    """Which fork's BN is meant is seen by its fields."""
    assert forks.of_bn(text_format.Parse(bn_param, netspec_pb2.BNParameter())) == fork


@pytest.mark.parametrize(
    ("layer_type", "fork"),
    [
        ("DenseImageData", "SegNet's fork"),
        ("MultiStageMeanfield", "CRF-RNN's fork"),
        ("ImageLabelmapData", "HED's fork"),
        ("MatWrite", "DeepLab's fork"),
        ("DetectNetTransformation", "NVIDIA's fork"),
        ("DecodeBBox", "MS-CNN's and Cascade R-CNN's forks"),
        ("Unpooling", "DeconvNet's fork"),
        ("LabelSpecificMargin", "the face recognition forks"),
        ("Maxout", "a fork"),
    ],
)
def test_the_fork_of_a_layer_type(layer_type: str, fork: str) -> None:
    """A layer type that is not Caffe's is told with its fork, or as that of some fork."""
    assert forks.TYPES[layer_type] == fork


def test_no_type_of_caffe_is_a_forks() -> None:
    """No layer type that Caffe's own old form has stands in the table."""
    assert not {"AbsVal", "Convolution", "Eltwise", "MVN", "Softmax", "SoftmaxWithLoss", "Im2col"} & set(forks.TYPES)
    values = netspec_pb2.V1LayerParameter.LayerType.items()
    assert not {name for name, number in values if number < 10000} & set(forks.VALUES)


ENGINES = [
    (netspec_pb2.NetParameter, 'engine: "MKLDNN:CPU"'),
    (netspec_pb2.SolverParameter, 'engine: "MKL2017"'),
    (netspec_pb2.LayerParameter, 'engine: "MKLDNN" relu_param { engine: MKLDNN }'),
    *[
        (netspec_pb2.LayerParameter, f"{field} {{ engine: {engine} }}")
        for field in ("batch_norm_param", "concat_param", "convolution_param", "eltwise_param", "inner_product_param",
                      "lrn_param", "pooling_param", "relu_param", "softmax_param")
        for engine in ("CAFFE", "CUDNN", "MKL2017", "MKLDNN")
    ],
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text"), ENGINES, ids=[text for _, text in ENGINES])
def test_engines_of_intels_fork(kind: type[Message], text: str) -> None:
    """Intel's engines are read as texts at a net, a solver and a layer, and as names inside a layer's message."""
    message = parse(text, kind).message
    found = {(fork, name) for fork, name, _ in foreign(message)}
    assert not {name for fork, name in found if fork not in ("Intel's fork", "NVIDIA's fork")}
    assert found or "CAFFE" in text or "CUDNN" in text


def test_origin() -> None:
    """A message says where something unknown comes from, where that is known."""
    assert forks.origin(forks.TYPES["PriorBox"]) == ": it comes from SSD's fork of Caffe"
    assert forks.origin("") == ""
