"""Every form computes what the layers compute that it stands for."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st

from netspec import Net
from netspec.layers.base import Shape
from netspec.schema.netspec_pb2 import NetParameter

Layers = str | tuple[Any, ...]

RELU = 'type: "ReLU"'
NORM = 'type: "BatchNorm"'
JOIN = 'type: "Concat"'
SCALE = 'type: "Scale" scale_param { bias_term: true }'
IP = 'type: "InnerProduct" inner_product_param { num_output: 3 }'
LRN = 'type: "LRN" lrn_param { alpha: 0.5 beta: %s k: 2 local_size: %d }'


def conv(outputs: int = 6, kernel: int = 3, fields: str = "") -> str:
    fields = f"num_output: {outputs} kernel_size: {kernel} {fields}"
    return f'type: "Convolution" convolution_param {{ {fields} }}'


CASES = [
    ("product", [conv(kernel=1)], (4, 5, 6, 7)),
    ("product", [conv(kernel=1, fields="bias_term: false")], (4, 5, 1, 1)),
    ("product", [conv(kernel=1, fields="stride: 2"), RELU], (4, 5, 7, 6)),
    ("product", [conv(kernel=1, fields="stride_h: 3 stride_w: 1")], (4, 5, 8, 3)),
    ("patches", [conv(), RELU], (4, 5, 6, 7)),
    ("patches", [conv(fields="pad: 1 bias_term: false")], (4, 5, 3, 3)),
    ("patches", [conv(kernel=5, fields="pad: 2 group: 2")], (4, 4, 6, 6)),
    ("patches", [conv(kernel=4, fields="stride: 3 pad: 1 group: 3")], (4, 3, 9, 8)),
    ("patches", [conv(2, 1, "kernel_size: 3 stride: 2 pad: 0 pad: 1")], (4, 5, 3, 9)),
    ("patches", [conv(2, 12), RELU], (4, 1, 17, 18)),
    ("patches", [conv(20, 3, "stride: 2 pad: 1 group: 2")], (4, 2, 6, 7)),
    ("fused", [conv(), RELU], (4, 5, 6, 7)),
    ("fused", [conv(kernel=1, fields="bias_term: false"), RELU], (4, 5, 6, 6)),
    ("fused", [conv(fields="pad: 2 stride: 2 dilation: 2 group: 2"), RELU], (4, 4, 9, 8)),
    ("closed", [conv(), LRN % (0.75, 5)], (4, 5, 6, 7)),
    ("closed", [conv(), LRN % (0.6, 3)], (4, 5, 5, 5)),
    ("closed", [conv(), LRN % (0.75, 15)], (4, 5, 5, 5)),
    ("affine", [NORM, SCALE, RELU], (4, 5, 6, 7)),
    ("affine", [NORM, 'type: "Scale"'], (4, 5)),
    (
        "affine",
        [conv(fields="bias_term: false"), 'type: "BatchNorm" batch_norm_param { moving_average_fraction: 0.5 }', SCALE],
        (4, 5, 6, 6),
    ),
    ("one_buffer", [([conv(), RELU], [conv(4), RELU], JOIN)], (4, 5, 6, 7)),
    (
        "one_buffer",
        [conv(), ([conv(1, 1), RELU], [conv(3, 3, "pad: 1"), RELU], [conv(2, 5, "pad: 2"), RELU], JOIN), RELU, conv()],
        (4, 5, 9, 7),
    ),
    ("one_buffer", [([NORM, RELU], [conv(5, 1), RELU], JOIN + " concat_param { axis: -3 }"), conv(2)], (4, 5, 6, 6)),
    ("one_buffer", [([IP, RELU], [IP, RELU], JOIN)], (4, 5)),
]
TEST_CASES = [
    ("folded", [conv(fields="pad: 1"), NORM, SCALE], (4, 5, 6, 7)),
    ("folded", [conv(fields="bias_term: false group: 2"), NORM, 'type: "Scale"', RELU], (4, 4, 6, 6)),
    ("folded_relu", [conv(fields="pad: 1"), NORM, SCALE, RELU], (4, 5, 6, 7)),
    ("folded_relu", [conv(fields="bias_term: false group: 2"), NORM, 'type: "Scale"', RELU], (4, 4, 6, 6)),
]
FROZEN = 'type: "BatchNorm" batch_norm_param { use_global_stats: true }'
TRAIN_CASES = [
    ("folded", [conv(), FROZEN, SCALE], (4, 5, 6, 7)),
    ("folded_relu", [conv(), FROZEN, SCALE, RELU], (4, 5, 6, 7)),
    ("affine", [FROZEN, SCALE], (4, 5, 6, 7)),
]
REFUSED = [
    ("product", [conv(kernel=3)], (4, 5, 6, 6)),
    ("product", [conv(kernel=1, fields="pad: 1")], (4, 5, 6, 6)),
    ("product", [conv(kernel=1, fields="group: 2")], (4, 4, 6, 6)),
    ("product", [conv(kernel=1)], (4, 5, 64, 64)),
    ("product", [conv(kernel=1)], (4, 5, 6)),
    ("product", [conv(kernel=1)], (4, 5, 6, 6, 6)),
    ("product", [conv(kernel=1, fields="axis: 2")], (4, 2, 5, 6, 6)),
    ("product", [conv(kernel=1, fields="axis: 2")], (4, 5, 6, 6)),
    ("patches", [conv(kernel=1)], (4, 5, 6, 6)),
    ("patches", [conv(fields="dilation: 2")], (4, 5, 6, 6)),
    ("patches", [conv()], (4, 5, 16, 16)),
    ("patches", [conv()], (4, 1, 36, 36)),
    ("patches", [conv(fields="group: 6")], (4, 6, 6, 6)),
    ("patches", [conv()], (4, 5, 6)),
    ("fused", [conv(), 'type: "ReLU" relu_param { negative_slope: 0.1 }'], (4, 5, 6, 6)),
    ("fused", [conv(), RELU], (4, 5, 6)),
    ("closed", ['type: "LRN" lrn_param { norm_region: WITHIN_CHANNEL }'], (4, 5, 6, 6)),
    ("affine", ['type: "BatchNorm" batch_norm_param { scale_bias: true }', SCALE], (4, 5, 6, 6)),
    ("affine", [NORM, 'type: "Scale" scale_param { axis: 2 }'], (4, 5, 5)),
    ("affine", [NORM, 'type: "Scale" scale_param { num_axes: 2 }'], (4, 5, 6, 6)),
    ("affine", [NORM, 'type: "Scale" scale_param { axis: 0 }'], (4,)),
    ("folded", [conv(), NORM, SCALE], (4, 5, 6, 6)),
    ("folded_relu", [conv(), NORM, SCALE, RELU], (4, 5, 6, 6)),
    ("folded_relu", [conv(), FROZEN, SCALE, 'type: "ReLU" relu_param { negative_slope: 0.1 }'], (4, 5, 6, 6)),
    ("one_buffer", [([conv(), RELU], [conv()], JOIN)], (4, 5, 6, 6)),
    (
        "one_buffer",
        [([conv(), RELU], [conv(), RELU[:-1] + '" relu_param { negative_slope: 0.1 }'], JOIN)],
        (4, 5, 6, 6),
    ),
    ("one_buffer", [([conv(), RELU], [conv(), RELU], JOIN + " concat_param { axis: 2 }")], (4, 5, 6, 6)),
    ("one_buffer", [([conv(), RELU], JOIN)], (4, 5, 6, 6)),
    ("bits", ['type: "Dropout" dropout_param { dropout_ratio: 0 }'], (4, 5)),
    ("bits", ['type: "Dropout" dropout_param { dropout_ratio: 0.999 }'], (4, 5)),
]


def add(texts: list[str], layers: Sequence[Layers], bottom: str) -> str:
    """Add layers in a row to a net's texts; the name of the last top."""
    for layer in layers:
        if isinstance(layer, tuple):
            *rows, join = layer
            bottoms = [add(texts, row, bottom) for row in rows]
        else:
            join, bottoms = layer, [bottom]
        read = " ".join(f'bottom: "{name}"' for name in bottoms)
        bottom = bottoms[0] if join == RELU else f"b{len(texts)}"
        texts.append(f'layer {{ name: "l{len(texts) - 1}" {read} top: "{bottom}" {join} }}')
    return bottom


def net_of(layers: Sequence[Layers], shape: Shape, phase: str) -> Net:
    """A net of layers in a row, whose blobs are random, and as a batch norm's may be. A tuple among them has rows that
    read the same, and what joins them."""
    dims = " ".join(f"dim: {size}" for size in shape)
    texts = [
        f'force_backward: true layer {{ name: "in" type: "Input" top: "b0" input_param {{ shape {{ {dims} }} }} }}'
    ]
    add(texts, layers, "b0")
    net = Net(text_format.Parse("\n".join(texts), NetParameter()), phase)
    with torch.no_grad():
        for blobs in net.layer_params.values():
            for blob in blobs:
                blob.copy_(torch.rand_like(blob) - 0.5 if blob.dim() > 1 else torch.rand_like(blob) + 0.1)
    return net


def names(net: Net) -> set[str]:
    return {kind.name for site in net.sites for kind in site.forms}


def results(net: Net, x: torch.Tensor) -> list[torch.Tensor]:
    """The top of a net, the gradients of its bottom and its blobs, and its states afterwards."""
    (top,) = net.outputs
    y = net(b0=x)[top]
    net.zero_grad()
    y.backward(torch.linspace(-1, 2, y.numel()).view_as(y))
    gradients = [blob.grad for blob in net.parameters()]
    return [y.detach(), net.inputs["b0"].grad, *gradients, *net.buffers()]


def check(name: str, layers: Sequence[Layers], x: torch.Tensor, plain: Net, tolerance: float) -> None:
    """The form of that name gives the results of a net, within a tolerance relative to the largest number of each."""
    net = net_of(layers, plain.blob_shapes["b0"], plain.graph.state.phase)
    net.load_state_dict(plain.state_dict())
    net.precision, net.memory_format = plain.precision, plain.memory_format
    (site,) = (site for site in net.sites if name in {kind.name for kind in site.forms})
    net.use_forms({site.key: name})
    assert f"_{name}" in net.code
    for ours, theirs in zip(results(net, x), results(plain, x), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance * max(theirs.abs().max().item(), 0.1))


def ids(case: tuple[str, list[Layers], Shape]) -> str:
    return f"{case[0]}-{case[2]}"


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "last"])
@pytest.mark.parametrize(("precision", "tolerance"), [("FP32", 1e-5), ("BF16", 2**-6)])
@pytest.mark.parametrize(
    ("phase", "case"),
    [(phase, case) for phase in ("TRAIN", "TEST") for case in CASES]
    + [("TEST", case) for case in TEST_CASES]
    + [("TRAIN", case) for case in TRAIN_CASES],
    ids=lambda value: value if isinstance(value, str) else ids(value),
)
def test_equality(phase, case, precision, tolerance, memory_format):
    """Tops, gradients and states are those of the plain layers, for a batch smaller than the net was compiled for."""
    name, layers, shape = case
    torch.manual_seed(0)
    plain = net_of(layers, shape, phase)
    plain.precision, plain.memory_format = precision, memory_format
    check(name, layers, torch.randn(3, *shape[1:]), plain, tolerance)


@pytest.mark.parametrize("case", REFUSED, ids=ids)
def test_refusal(case):
    """A form does not fit where it could not compute the layers, or never faster."""
    name, layers, shape = case
    assert name not in names(net_of(layers, shape, "TRAIN"))


@settings(max_examples=60)
@given(
    batch=st.integers(1, 5),
    channels=st.integers(1, 3),
    outputs=st.integers(1, 3),
    group=st.integers(1, 2),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.integers(1, 3),
    pad=st.integers(0, 2),
    size=st.tuples(st.integers(3, 8), st.integers(3, 8)),
    bias=st.booleans(),
)
def test_any_convolution(batch, channels, outputs, group, kernel, stride, pad, size, bias):
    """Whatever its settings, a convolution and the ReLU after it are the same in all forms that fit."""
    text = (
        f'type: "Convolution" convolution_param {{ num_output: {outputs * group} group: {group} stride: {stride}'
        f" kernel_h: {kernel[0]} kernel_w: {kernel[1]} pad: {pad} bias_term: {str(bias).lower()} }}"
    )
    shape = (batch, channels * group, *size)
    plain = net_of([text, RELU], shape, "TRAIN")
    for name in names(plain):
        check(name, [text, RELU], torch.randn(shape), plain, 1e-5)


@settings(max_examples=30)
@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 5), st.integers(1, 5)),
    size=st.sampled_from([1, 3, 5, 7]),
    beta=st.sampled_from([0.5, 0.75, 1, 1.3]),
)
def test_any_lrn(shape, size, beta):
    """Whatever its settings, LRN is the same with its gradient in closed form."""
    layers = [LRN % (beta, size)]
    check("closed", layers, torch.randn(shape) * 3, net_of(layers, shape, "TRAIN"), 1e-5)
