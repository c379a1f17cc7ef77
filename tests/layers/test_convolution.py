"""Convolution against a sum over the taps, over any number of axes; costs; what the recordings leave out."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from netspec.layers import LayerError
from netspec.memory_format import laid_out

PATH = "convolution_param"


@st.composite
def geometries(draw, most=5):
    """Sizes, kernels, strides, pads and dilations of up to `most` spatial axes whose kernels fit, and a group."""
    axes = [draw(axis_geometries()) for _ in range(draw(st.integers(0, most)))]
    return tuple(zip(*axes, strict=True)) or ((),) * 5, draw(st.integers(1, 3))


@st.composite
def axis_geometries(draw):
    kernel, dilation, pad = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(0, 2))
    least = max(1, dilation * (kernel - 1) + 1 - 2 * pad)
    return draw(st.integers(least, least + 2)), kernel, draw(st.integers(1, 3)), pad, dilation


def fields(geometry, group, outputs):
    """The text of `convolution_param`."""
    lists = zip(("kernel_size", "stride", "pad", "dilation"), geometry[1:], strict=True)
    return f"num_output: {outputs} group: {group} " + " ".join(f"{name}: {list(values)}" for name, values in lists)


def filled(layer):
    """The layer with random blobs."""
    with torch.no_grad():
        for blob in layer.blobs():
            blob.normal_()
    return layer


def tap_slices(tap, geometry, counts):
    """Where the padded input meets one tap of the kernel at every place of the output."""
    return tuple(
        slice(t * d, t * d + (count - 1) * s + 1, s)
        for t, s, d, count in zip(tap, geometry[2], geometry[4], counts, strict=True)
    )


def naive_convolution(x, weight, bias, geometry, group):
    """The sum over the taps of the channels' products, group by group."""
    sizes, kernel, stride, pad, dilation = geometry
    x = np.pad(x, ((0, 0), (0, 0), *((p, p) for p in pad)))
    counts = [
        (size + 2 * p - d * (k - 1) - 1) // s + 1
        for size, k, s, p, d in zip(sizes, kernel, stride, pad, dilation, strict=True)
    ]
    parts = []
    for inputs, filters in zip(np.split(x, group, 1), np.split(weight, group), strict=True):
        part = np.zeros((len(x), len(filters), *counts))
        for tap in np.ndindex(*kernel):
            seen = inputs[(slice(None), slice(None), *tap_slices(tap, geometry, counts))]
            part += np.einsum("nc...,oc->no...", seen, filters[(slice(None), slice(None), *tap)])
        parts.append(part)
    return np.concatenate(parts, 1) + bias.reshape(-1, *(1,) * len(sizes))


@settings(max_examples=150)
@given(case=geometries())
def test_any_geometry(build, case):
    """The top is the sum over the taps for every number of axes, kernel, stride, pad, dilation and group."""
    geometry, group = case
    shape = (2, 2 * group, *geometry[0])
    layer = filled(build(f'type: "Convolution" top: "y" {PATH} {{ {fields(geometry, group, 3 * group)} }}', shape))
    x = torch.randn(shape)
    expected = naive_convolution(x.numpy(), *(blob.detach().numpy() for blob in layer.blobs()), geometry, group)
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, rtol=0, atol=1e-4)


def test_no_spatial_axis(build):
    """A bottom that ends with its channels needs no kernel, and the weight has no axis for one."""
    layer = filled(build(f'type: "Convolution" top: "y" {PATH} {{ num_output: 4 }}', (2, 3)))
    x = torch.randn(2, 3)
    assert layer.weight.shape == (4, 3)
    torch.testing.assert_close(layer(x), x @ layer.weight.T + layer.bias)


@pytest.mark.parametrize("axis", [0, 2, -3, -2, -1])
def test_axis(build, axis):
    """The axes before `axis`, counted from either end, are batch: each is convolved alone."""
    shape = (2, 3, 4, 5)
    layer = filled(build(f'type: "Convolution" top: "y" {PATH} {{ num_output: 6 kernel_size: 1 axis: {axis} }}', shape))
    x = torch.randn(shape)
    expected = torch.tensordot(x, layer.weight.flatten(1), ([axis], [1])) + layer.bias
    torch.testing.assert_close(layer(x), expected.movedim(-1, axis))


def test_no_value_depends_on_the_engine(build):
    """`engine` and `force_nd_im2col` leave the top as it is, and no bias is 0."""
    text = 'type: "Convolution" top: "y" convolution_param {{ num_output: 4 kernel_size: 3 bias_term: {} {} }}'
    x = torch.randn(2, 3, 7, 6)
    plain = filled(build(text.format("false", ""), x.shape))
    forced = build(text.format("true", "engine: CUDNN force_nd_im2col: true"), x.shape)
    with torch.no_grad():
        forced.weight.copy_(plain.weight)
    torch.testing.assert_close(forced(x), plain(x))


@pytest.mark.parametrize(("channels", "size"), [(6, (4, 4)), (6, (2, 3)), (6, (1, 1)), (6, (5, 5)), (512, (2, 2))])
def test_channels_last(build, channels, size):
    """In channels-last memory tops and gradients are what they are in the other, and the top stays in it; small maps
    of many channels are convolved out of it."""
    check_formats(build, f"num_output: {channels} kernel_size: 3 pad: 1 group: 2", (2, channels, *size))


@pytest.mark.parametrize("stride", [(2, 2), (1, 2), (3, 1)])
@pytest.mark.parametrize("channels", [1, 2, 3, 5, 7, 8, 15, 16])
def test_a_1x1_kernel_that_skips_places(build, channels, stride):
    """Few channels make no difference: oneDNN would write their gradient outside of its memory, at times without an
    end of the process."""
    fields = f"num_output: 8 kernel_size: 1 stride_h: {stride[0]} stride_w: {stride[1]}"
    for _ in range(10):
        check_formats(build, fields, (2, channels, 9, 8))


def check_formats(build, fields, shape):
    """Tops and gradients are the same in both memory formats, in which they stay."""
    layer = filled(build(f'type: "Convolution" top: "y" {PATH} {{ {fields} }}', shape))
    x = torch.randn(shape)
    results = []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        x = laid_out(x.detach(), memory_format).requires_grad_()
        y = layer(x)
        assert y.is_contiguous(memory_format=memory_format)
        results.append([y, *torch.autograd.grad(y.square().mean(), [x, *layer.blobs()])])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    ("text", "bottoms", "tops", "count"),
    [
        ('type: "Convolution" top: "y" convolution_param { num_output: 6 kernel_size: 3 group: 3 pad: 1 }',
         [(2, 3, 5, 4)], [(2, 6, 5, 4)], 2 * 6 * 5 * 4 * 9),
        ('type: "Convolution" top: "y" top: "z" convolution_param { num_output: 4 kernel_size: 2 }',
         [(1, 3, 5, 4)] * 2, [(1, 4, 4, 3)] * 2, 2 * 4 * 4 * 3 * 12),
        ('type: "Deconvolution" top: "y" convolution_param { num_output: 4 kernel_size: 3 }',
         [(2, 3, 5, 4)], [(2, 4, 7, 6)], 2 * 3 * 5 * 4 * 4 * 9),
        ('type: "InnerProduct" inner_product_param { num_output: 7 }', [(2, 3, 5)], [(2, 7)], 2 * 7 * 15),
        ('type: "InnerProduct" inner_product_param { num_output: 7 axis: 2 }', [(2, 3, 5)], [(2, 3, 7)], 6 * 7 * 5),
        ('type: "ReLU"', [(2, 3)], [(2, 3)], 0),
    ],
)  # fmt: skip
def test_multiply_adds(build, text, bottoms, tops, count):
    """The cost of a forward pass is one multiply-add a weight that each value of a top sees."""
    layer = build(text, *bottoms)
    result = layer(*(torch.zeros(shape) for shape in bottoms))
    assert [tuple(top.shape) for top in ([result] if isinstance(result, torch.Tensor) else result)] == tops
    assert layer.multiply_adds(bottoms, tops) == count


def test_one_pad_of_two(build):
    """pad_h alone leaves the other axis without padding."""
    text = 'type: "Convolution" top: "y" convolution_param { num_output: 1 kernel_size: 3 pad_h: 1 }'
    assert build(text, (1, 1, 5, 5))(torch.zeros(1, 1, 5, 5)).shape == (1, 1, 5, 3)


def test_no_filler_is_zero(build):
    """Weights without a filler are filled with the constant 0."""
    filler = build('type: "InnerProduct" inner_product_param { num_output: 2 }', (1, 3)).blob_fillers["weight"]
    assert (filler.type, filler.value) == ("constant", 0)


@pytest.mark.parametrize(
    ("text", "bottom", "reason", "field"),
    [
        ("num_output: 4", (2, 3, 7), "kernel_size is missing", ()),
        ("num_output: 4 kernel_size: [1, 1]", (2, 3),
         "kernel_size is given 2 times; the bottom has 0 spatial axes", ("kernel_size",)),
        ("num_output: 4 kernel_size: 2 pad_h: 1", (2, 3, 7),
         "pad_h and pad_w are for 2 spatial axes; the bottom has 1", ("pad_h",)),
        ("num_output: 4 kernel_size: 2 pad: 1 pad_w: 1", (2, 3, 7, 5),
         "give pad or pad_h and pad_w, not both", ("pad",)),
        ("num_output: 4 kernel_size: 2 stride: 1 stride_h: 1 stride_w: 1", (2, 3, 7, 5),
         "give stride or stride_h and stride_w, not both", ("stride",)),
        ("num_output: 4 kernel_h: 2 kernel_w: 0", (2, 3, 7, 5), "kernel_size must be at least 1, not 0", ("kernel_h",)),
        ("num_output: 4 kernel_size: 3 dilation: [1, 2, 1, 1]", (2, 3, 4, 4, 4, 4),
         "kernel 3 spans 5 with dilation 2, which is larger than the padded input 4", ("kernel_size",)),
        ("num_output: 4 axis: -3", (2, 3), "axis -3 does not exist: the bottom has 2 axes", ("axis",)),
    ],
)  # fmt: skip
def test_errors(build, text, bottom, reason, field):
    """Sizes that do not belong to the bottom's axes are refused with the path of their field."""
    with pytest.raises(LayerError) as error:
        build(f'type: "Convolution" top: "y" {PATH} {{ {text} }}', bottom)
    assert (error.value.reason, error.value.field) == (reason, (PATH, *field))


def test_hole_is_dilation(build):
    """DeepLab's word gives the layer that Caffe's gives; both together are refused."""
    text = 'type: "Convolution" top: "y" convolution_param {{ num_output: 2 kernel_size: 3 pad: 4 {} }}'
    assert build(text.format("hole: 4"), (1, 3, 17, 17)).dilation == (4, 4)
    assert build(text.format("dilation: 4"), (1, 3, 17, 17)).dilation == (4, 4)
    with pytest.raises(LayerError, match="hole is DeepLab's word for dilation"):
        build(text.format("hole: 4 dilation: 4"), (1, 3, 17, 17))
