"""Im2col against indexing and against PyTorch's unfold, SPP against its bins, and what they refuse."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from netspec.layers import LayerError


def im2col(fields):
    return f'type: "Im2col" convolution_param {{ {fields} }}'


def brute_force(x, kernel, stride, pad, dilation):
    """The columns of one item (C, sizes...), value by value."""
    padded = np.pad(x, [(0, 0), *((p, p) for p in pad)])
    sizes = [
        (size - (d * (k - 1) + 1)) // s + 1
        for size, k, s, d in zip(padded.shape[1:], kernel, stride, dilation, strict=True)
    ]
    columns = np.empty((x.shape[0], *kernel, *sizes))
    for place in np.ndindex(*kernel):
        window = tuple(
            slice(i * d, i * d + (n - 1) * s + 1, s) for i, d, n, s in zip(place, dilation, sizes, stride, strict=True)
        )
        columns[(slice(None), *place)] = padded[(slice(None), *window)]
    return columns.reshape(-1, *sizes)


@settings(max_examples=60)
@given(data=st.data(), axes=st.integers(1, 4))
def test_im2col(build, data, axes):
    """For 1 to 4 spatial axes, each with its own kernel, stride, pad and dilation, the columns are the formula's."""
    draw = [[data.draw(st.integers(least, 3)) for _ in range(axes)] for least in (1, 1, 0, 1)]
    sizes = [max(d * (k - 1) + 1 - 2 * p, 1) + data.draw(st.integers(0, 2)) for k, _, p, d in zip(*draw, strict=True)]
    x = np.random.default_rng(0).standard_normal((2, *sizes))
    fields = " ".join(
        f"{name}: {values}" for name, values in zip(("kernel_size", "stride", "pad", "dilation"), draw, strict=True)
    )
    bottom = torch.from_numpy(x)[None].expand(3, 2, *sizes)
    layer = build(im2col(fields), bottom.shape)
    for item in layer(bottom).numpy():
        np.testing.assert_array_equal(item, brute_force(x, *draw))


def test_im2col_gradient(build):
    """Every value gets the gradients of all windows that hold it, as in PyTorch's unfold."""
    x = torch.randn(2, 3, 6, 5, dtype=torch.float64, requires_grad=True)
    y = build(im2col("kernel_h: 3 kernel_w: 2 stride: 2 pad_h: 1"), x.shape)(x)
    columns = F.unfold(x, (3, 2), padding=(1, 0), stride=2)
    weights = torch.randn_like(columns)
    (expected,) = torch.autograd.grad(columns, x, weights)
    (ours,) = torch.autograd.grad(y, x, weights.reshape(y.shape))
    assert torch.equal(y.flatten(2), columns)
    torch.testing.assert_close(ours, expected)


def test_im2col_axis(build):
    """All axes before `axis` are batch."""
    x = torch.rand(2, 4, 3, 6, 5)
    y = build(im2col("kernel_size: 2 axis: 2"), x.shape)(x)
    expected = build(im2col("kernel_size: 2"), (8, 3, 6, 5))(x.flatten(0, 1))
    assert torch.equal(y, expected.reshape(2, 4, 12, 5, 4))


def spp(height, method="MAX"):
    return f'type: "SPP" spp_param {{ pyramid_height: {height} pool: {method} }}'


@settings(max_examples=60)
@given(sizes=st.tuples(st.integers(4, 20), st.integers(4, 20)), method=st.sampled_from(["MAX", "AVE"]))
def test_spp(build, sizes, method):
    """A level's bin is the maximum over its window, or the sum over it by the window's area, cut behind the padding."""
    x = np.random.default_rng(0).standard_normal((1, 2, *sizes)).astype(np.float32)
    expected = []
    for bins in (1, 2):
        kernels = [math.ceil(size / bins) for size in sizes]
        pads = [(kernel * bins - size + 1) // 2 for kernel, size in zip(kernels, sizes, strict=True)]
        for channel, row, column in np.ndindex(2, bins, bins):
            starts = [i * kernel - pad for i, kernel, pad in zip((row, column), kernels, pads, strict=True)]
            ends = [start + kernel for start, kernel in zip(starts, kernels, strict=True)]
            window = x[0, channel, max(starts[0], 0) : ends[0], max(starts[1], 0) : ends[1]]
            area = math.prod(
                min(end, size + pad) - start for start, end, size, pad in zip(starts, ends, sizes, pads, strict=True)
            )
            expected.append(window.max() if method == "MAX" else window.sum() / area)
    y = build(spp(2, method), x.shape)(torch.from_numpy(x))[0]
    # The levels follow one another; within a level the channels do.
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_spp_of_one_level(build):
    """A pyramid of height 1 is one pooling over everything and keeps the spatial axes, as in Caffe."""
    x = torch.rand(2, 3, 5, 4)
    assert torch.equal(build(spp(1), x.shape)(x), x.amax((2, 3), keepdim=True))


@pytest.mark.parametrize("height", [1, 2, 3, 4])
def test_spp_size(build, height):
    """The levels have 1, 4, 16, ... bins a channel, for every size whose padding stays below the kernel."""
    x = torch.empty(2, 3, 29, 32, device="meta")
    assert build(spp(height), x.shape)(x).flatten(1).shape == (2, 3 * (4**height - 1) // 3)


def test_spp_stochastic(build):
    """STOCHASTIC draws in training and takes the weighted mean in testing, in every level."""
    x = torch.rand(1, 1, 4, 4)
    text = spp(2, "STOCHASTIC")
    trained = build(text, x.shape, phase="TRAIN")(x)
    assert torch.isin(trained, x).all()
    tested = build(text, x.shape)(x)
    torch.testing.assert_close(tested[0, 0], (x**2).sum() / x.sum())


X = (2, 3, 7, 5)
ERRORS = [
    (im2col(""), X, "kernel_size is missing", ("convolution_param",)),
    (
        im2col("kernel_size: 6"),
        X,
        "the kernel spans 6, which is larger than the padded input 5",
        ("convolution_param", "kernel_size"),
    ),
    (
        im2col("kernel_size: 3 dilation: 4 pad: 1"),
        X,
        "the kernel spans 9, which is larger than the padded input 7",
        ("convolution_param", "kernel_size"),
    ),
    (im2col("kernel_size: 2 stride: 0"), X, "stride must be at least 1, not 0", ("convolution_param", "stride")),
    (im2col("kernel_size: 2 axis: 3"), X, "no spatial axis follows axis 3", ("convolution_param", "axis")),
    (
        im2col("kernel_size: 2 axis: 5"),
        X,
        "axis 5 does not exist: the bottom has 4 axes",
        ("convolution_param", "axis"),
    ),
    ('type: "SPP"', X, "pyramid_height must be given and at least 1", ("spp_param", "pyramid_height")),
    (spp(2), (2, 3, 7), "SPP needs a bottom of 4 axes, not 3", ()),
    (
        spp(4000000000),
        X,
        "the level of 4 x 4 bins does not fit a bottom of 7 x 5: pad 2 must be smaller than kernel 2",
        ("spp_param", "pyramid_height"),
    ),
    (
        spp(2, "STOCHASTIC"),
        X,
        "the level of 2 x 2 bins does not fit a bottom of 7 x 5: STOCHASTIC pooling takes no pad",
        ("spp_param", "pyramid_height"),
    ),
]


@pytest.mark.parametrize(("text", "bottom", "reason", "field"), ERRORS, ids=[reason for _, _, reason, _ in ERRORS])
def test_error(build, text, bottom, reason, field):
    """A wrong parameter or shape is refused with its numbers and the path of its field."""
    with pytest.raises(LayerError) as error:
        build(text, bottom)
    assert (error.value.reason, error.value.field) == (reason, field)
