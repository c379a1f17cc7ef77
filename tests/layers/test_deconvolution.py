"""Deconvolution against the gradient of Convolution, over any number of axes; its fillers; its errors."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from netspec.fillers import fill
from netspec.layers import LayerError

PATH = "convolution_param"


@st.composite
def geometries(draw):
    """Places, kernels, strides, pads and dilations of up to 5 axes whose tops are not empty."""
    axes = []
    for _ in range(draw(st.integers(0, 5))):
        count, kernel, stride, dilation = (draw(st.integers(1, most)) for most in (3, 3, 3, 2))
        full = stride * (count - 1) + dilation * (kernel - 1) + 1
        axes.append((count, kernel, stride, draw(st.integers(0, min(2, (full - 1) // 2))), dilation))
    return tuple(zip(*axes, strict=True)) or ((),) * 5


def text(layer_type, geometry, outputs, group, more=""):
    lists = zip(("kernel_size", "stride", "pad", "dilation"), geometry[1:], strict=True)
    sizes = " ".join(f"{name}: {list(values)}" for name, values in lists)
    return f'type: "{layer_type}" top: "y" {PATH} {{ num_output: {outputs} group: {group} {sizes} {more} }}'


@settings(max_examples=150)
@given(geometry=geometries(), group=st.integers(1, 3))
def test_it_is_the_gradient_of_convolution(build, geometry, group):
    """The top is the gradient that a convolution with the same weight sends to a bottom of the top's shape."""
    y = torch.randn(2, 3 * group, *geometry[0])
    layer = build(text("Deconvolution", geometry, 2 * group, group), y.shape)
    weight, bias = (torch.randn(blob.shape) for blob in layer.blobs())
    layer.load_state_dict({"weight": weight, "bias": bias})
    top = layer(y)
    convolution = build(text("Convolution", geometry, 3 * group, group, "bias_term: false"), top.shape)
    convolution.load_state_dict({"weight": weight})
    x = torch.zeros(top.shape, requires_grad=True)
    (gradient,) = torch.autograd.grad(convolution(x), x, y)
    torch.testing.assert_close(top - bias.reshape(-1, *(1,) * len(geometry[0])), gradient, rtol=0, atol=1e-4)


@settings(max_examples=30)
@given(geometry=geometries())
def test_size(build, geometry):
    """Every axis of the top is stride (H - 1) + dilation (kernel - 1) + 1 - 2 pad."""
    shape = (1, 2, *geometry[0])
    top = build(text("Deconvolution", geometry, 3, 1), shape).to("meta")(torch.empty(shape, device="meta"))
    sizes = [s * (h - 1) + d * (k - 1) + 1 - 2 * p for h, k, s, p, d in zip(*geometry, strict=True)]
    assert top.shape == (1, 3, *sizes)


def test_gradients_over_four_axes(build):
    """Bottom, weight and bias have the gradients of finite differences."""
    geometry = ((2, 1, 2, 1), (2, 2, 1, 2), (2, 1, 1, 1), (1, 0, 0, 0), (2, 1, 1, 1))
    layer = build(text("Deconvolution", geometry, 2, 1), (1, 2, 2, 1, 2, 1)).double()

    def forward(x, weight, bias):
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (x,))

    shapes = [(1, 2, 2, 1, 2, 1), *(blob.shape for blob in layer.blobs())]
    assert torch.autograd.gradcheck(
        forward, [torch.randn(shape, dtype=torch.double, requires_grad=True) for shape in shapes]
    )


def test_two_bottoms_behind_two_batch_axes(build):
    """Each bottom has a top of its own from the same blobs, whatever its batch axes."""
    layer = build(
        f'type: "Deconvolution" top: "y" top: "z" {PATH} {{ num_output: 2 kernel_size: 2 axis: 2 }}',
        *[(2, 3, 4, 5)] * 2,
    )
    torch.nn.init.normal_(layer.weight)
    x, z = torch.randn(2, 2, 3, 4, 5)
    for bottom, top in zip((x, z), layer(x, z), strict=True):
        expected = torch.nn.functional.conv_transpose1d(bottom.flatten(0, 1), layer.weight, layer.bias)
        torch.testing.assert_close(top, expected.reshape(2, 3, 2, 6))


def test_bilinear_upsampling(build):
    """With the filler `bilinear` and one group a channel a plane of slope 1 becomes one of slope 1 / 2."""
    fields = (
        'num_output: 3 group: 3 kernel_size: 4 stride: 2 pad: 1 bias_term: false weight_filler { type: "bilinear" }'
    )
    layer = build(f'type: "Deconvolution" top: "y" {PATH} {{ {fields} }}', (1, 3, 6, 6))
    fill(layer.weight, layer.blob_fillers["weight"])
    top = layer(torch.arange(6.0).expand(1, 3, 6, 6))[0, :, 2:-2, 2:-2]
    torch.testing.assert_close(top.diff(dim=-1), torch.full((3, 8, 7), 0.5))


def test_fans_are_those_of_the_stored_shape(build):
    """xavier's fan in is the count of a row of the weight as stored: num_output / group times the kernel."""
    fields = 'num_output: 200 group: 2 kernel_size: 3 weight_filler { type: "xavier" }'
    layer = build(f'type: "Deconvolution" top: "y" {PATH} {{ {fields} }}', (1, 4, 5, 5))
    fill(layer.weight, layer.blob_fillers["weight"])
    assert layer.weight.shape == (4, 100, 3, 3)
    bound = math.sqrt(3 / (100 * 9))
    assert 0.99 * bound < layer.weight.abs().max().item() <= bound * (1 + 1e-6)


@pytest.mark.parametrize(
    ("fields", "bottom", "reason", "field"),
    [
        ("num_output: 4 kernel_size: 2 pad: 3", (2, 3, 5, 7), "pad 3 leaves nothing of a top of size 6", ("pad",)),
        ("num_output: 4 kernel_size: 2 group: 2", (2, 3, 5, 7),
         "input channels 3 cannot be divided into 2 groups", ("group",)),
        ("num_output: 4 kernel_size: 2 group: 3", (2, 3, 5, 7),
         "num_output 4 cannot be divided into 3 groups", ("group",)),
        ("kernel_size: 2", (2, 3, 5, 7), "num_output must be given and at least 1", ("num_output",)),
        ("num_output: 4", (2, 3, 5, 7), "kernel_size is missing", ()),
    ],
)  # fmt: skip
def test_errors(build, fields, bottom, reason, field):
    """A top that would be empty and numbers that do not divide are refused."""
    with pytest.raises(LayerError) as error:
        build(f'type: "Deconvolution" top: "y" {PATH} {{ {fields} }}', bottom)
    assert (error.value.reason, error.value.field) == (reason, (PATH, *field))
