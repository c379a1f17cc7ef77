"""Pooling against a formula by brute force, and what the recordings leave out."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

SMALLEST = np.finfo(np.float32).min


def sweep(size, kernel, stride, pad, padded, floor):
    """Where the windows start along one axis."""
    room = (size + 2 * pad - kernel) / stride
    count = (math.floor(room) if floor else math.ceil(room)) + 1
    if padded and (count - 1) * stride >= size + pad:
        count -= 1
    return [i * stride - pad for i in range(count)]


def brute_force(x, kernel, stride, pad, floor, average):
    """Top and places of Caffe's pooling of one plane, window by window."""
    rows, columns = (sweep(x.shape[i], kernel[i], stride[i], pad[i], any(pad), floor) for i in (0, 1))
    tops, places = np.empty((2, len(rows), len(columns)), np.float32)
    for i, top in enumerate(rows):
        for j, left in enumerate(columns):
            bottom, right = top + kernel[0], left + kernel[1]
            window = x[max(top, 0) : bottom, max(left, 0) : right]
            if average:
                area = (min(bottom, x.shape[0] + pad[0]) - top) * (min(right, x.shape[1] + pad[1]) - left)
                tops[i, j] = window.sum() / area if area else math.nan
                continue
            tops[i, j], places[i, j] = SMALLEST, -1
            if window.size:
                tops[i, j] = window.max()
                h, w = np.unravel_index(window.argmax(), window.shape)
                places[i, j] = (max(top, 0) + h) * x.shape[1] + max(left, 0) + w
    return tops, places


@st.composite
def geometries(draw):
    """Sizes, kernels up to the padded size, any stride, any pad below the kernel."""
    size, kernel, stride, pad = [], [], [], []
    for _ in range(2):
        size.append(draw(st.integers(1, 9)))
        kernel.append(draw(st.integers(1, size[-1] + 2)))
        stride.append(draw(st.integers(1, 5)))
        least = max(0, math.ceil((kernel[-1] - size[-1]) / 2))
        pad.append(draw(st.integers(least, kernel[-1] - 1)))
    return size, kernel, stride, pad


def pooling(method, kernel, stride, pad, floor=False, tops="y"):
    fields = [
        f"{name}_{axis}: {number[i]}"
        for name, number in (("kernel", kernel), ("stride", stride), ("pad", pad))
        for i, axis in enumerate("hw")
    ]
    names = " ".join(f'top: "{top}"' for top in tops)
    mode = "FLOOR" if floor else "CEIL"
    return f'type: "Pooling" {names} pooling_param {{ pool: {method} round_mode: {mode} {" ".join(fields)} }}'


@settings(max_examples=300)
@given(geometry=geometries(), floor=st.booleans())
def test_any_geometry(build, geometry, floor):
    """MAX, its places and AVE are the formula's for every size, kernel, stride, pad and rounding."""
    size, kernel, stride, pad = geometry
    x = np.random.default_rng(0).standard_normal(size).astype(np.float32)
    bottom = torch.from_numpy(x)[None, None]
    most, places = brute_force(x, kernel, stride, pad, floor, average=False)
    mean, _ = brute_force(x, kernel, stride, pad, floor, average=True)
    pool_max = build(pooling("MAX", kernel, stride, pad, floor, tops="ym"), bottom.shape)
    for ours, theirs in zip(pool_max(bottom), (most, places), strict=True):
        np.testing.assert_array_equal(ours[0, 0].numpy(), theirs)
    for method, theirs in (("MAX", most), ("AVE", mean)):
        layer = build(pooling(method, kernel, stride, pad, floor), bottom.shape)
        np.testing.assert_allclose(layer(bottom)[0, 0].numpy(), theirs, rtol=1e-5, atol=1e-6)
        assert layer(bottom.to("meta")).shape[2:] == theirs.shape


def test_empty_windows(build):
    """A stride larger than the kernel leaves an empty last window: -FLT_MAX for MAX, NaN for AVE."""
    x = torch.arange(4.0).view(1, 1, 1, 4)
    most, mean = (build(pooling(m, (1, 1), (1, 2), (0, 0)), x.shape)(x).flatten().tolist() for m in ("MAX", "AVE"))
    assert most == [0, 2, SMALLEST]
    assert mean[:2] == [0, 2]
    assert math.isnan(mean[2])


def test_kernel_that_hangs_over_a_small_bottom(build):
    """A kernel larger than the bottom by less than the stride makes one window, as in Caffe."""
    x = torch.rand(1, 1, 5, 5)
    assert build(pooling("AVE", (7, 7), (4, 4), (0, 0)), x.shape)(x).item() == pytest.approx(x.mean().item())


@pytest.mark.parametrize("method", ["MAX", "AVE"])
def test_gradient_of_wide_padding(build, method):
    """The gradient reaches the bottom through padding wider than half the kernel."""
    x = torch.rand(1, 2, 6, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(build(pooling(method, (3, 4), (2, 1), (2, 3)), x.shape), x)


def test_any_batch_size(build):
    """A layer built for one batch size pools another."""
    layer = build(pooling("AVE", (3, 3), (2, 2), (2, 2)), (1, 2, 6, 6))
    x = torch.rand(5, 2, 6, 6)
    torch.testing.assert_close(layer(x)[3:4], layer(x[3:4]))


STOCHASTIC = 'type: "Pooling" top: "y" pooling_param { pool: STOCHASTIC kernel_size: 2 stride: 2 }'


def test_stochastic_in_testing(build):
    """In testing STOCHASTIC is the mean weighted by the values themselves, also in a cut window; 0 where all are 0."""
    x = torch.tensor([[1.0, 3, 2], [0, 0, 4], [0, 0, 0]])
    expected = [[10 / 4, 20 / 6], [0, 0]]
    torch.testing.assert_close(build(STOCHASTIC, (1, 1, 3, 3))(x[None, None])[0, 0], torch.tensor(expected))


def test_stochastic_in_training(build):
    """In training STOCHASTIC draws each value as often as its share of the window, and the gradient goes to it."""
    torch.manual_seed(0)
    x = torch.tensor([[1.0, 3], [0, 6]]).repeat(1, 1, 1, 10_000).requires_grad_()
    y = build(STOCHASTIC, tuple(x.shape), phase="TRAIN")(x)
    shares = [(y == value).float().mean().item() for value in (1, 3, 0, 6)]
    assert shares == pytest.approx([0.1, 0.3, 0, 0.6], abs=0.02)
    y.sum().backward()
    torch.testing.assert_close((x * x.grad).sum(), y.sum())
