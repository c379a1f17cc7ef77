"""MVN, Reduction and ArgMax against their formulas, their ties and degenerate cases, and what they refuse."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from netspec.layers import LayerError

SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)


def values(shape, seed=0):
    """Few different values, so that there are ties."""
    return np.random.default_rng(seed).integers(-3, 4, shape).astype(np.float64)


@settings(max_examples=60)
@given(shape=SHAPES, across=st.booleans(), eps=st.sampled_from([1e-9, 0.1]))
def test_mvn(build, shape, across, eps):
    """Mean and deviation are those of each item or channel; the top has 4 axes, whatever the bottom has."""
    x = np.random.default_rng(0).standard_normal(shape).reshape(shape + (1,) * (4 - len(shape)))
    axes = (1, 2, 3) if across else (2, 3)
    centred = x - x.mean(axes, keepdims=True)
    expected = centred / (x.std(axes, keepdims=True) + eps)
    fields = f"across_channels: {str(across).lower()}"
    bottom = torch.from_numpy(x.reshape(shape))
    layer = build(f'type: "MVN" mvn_param {{ {fields} eps: {eps} }}', shape)
    np.testing.assert_allclose(layer(bottom).numpy(), expected, rtol=1e-6, atol=1e-12)
    layer = build(f'type: "MVN" mvn_param {{ {fields} normalize_variance: false }}', shape)
    np.testing.assert_allclose(layer(bottom).numpy(), centred, atol=1e-12)


@pytest.mark.parametrize("fields", ["", "across_channels: true", "normalize_variance: false"])
def test_mvn_gradient(build, fields):
    """The gradient is that of the formula."""
    x = torch.randn(2, 3, 4, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(build(f'type: "MVN" mvn_param {{ {fields} }}', tuple(x.shape)), x)


def test_mvn_of_equal_values(build):
    """Where all values are equal the top is 0 and the gradient (g - mean g) / eps, not NaN."""
    x = torch.full((1, 1, 2, 2), 3.0, requires_grad=True)
    y = build('type: "MVN" mvn_param { eps: 0.5 }', (1, 1, 2, 2))(x)
    y.backward(torch.tensor([[[[1.0, 0], [0, 0]]]]))
    assert y.tolist() == [[[[0, 0], [0, 0]]]]
    assert x.grad.tolist() == [[[[1.5, -0.5], [-0.5, -0.5]]]]


REDUCTIONS = {
    "SUM": (np.sum, np.ones_like),
    "ASUM": (lambda x, axes: np.abs(x).sum(axes), np.sign),
    "SUMSQ": (lambda x, axes: (x**2).sum(axes), lambda x: 2 * x),
    "MEAN": (np.mean, np.ones_like),
}


@settings(max_examples=80)
@given(shape=SHAPES, operation=st.sampled_from(list(REDUCTIONS)), coeff=st.sampled_from([1, -0.25]), data=st.data())
def test_reduction(build, shape, operation, coeff, data):
    """Every operation is its formula over `axis`, from either end, and all after it; so is its gradient."""
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    text = f'type: "Reduction" reduction_param {{ operation: {operation} axis: {axis} coeff: {coeff} }}'
    x, axes = values(shape), tuple(range(axis % len(shape), len(shape)))
    function, derivative = REDUCTIONS[operation]
    bottom = torch.from_numpy(x).requires_grad_()
    top = build(text, shape)(bottom)
    np.testing.assert_allclose(top.detach().numpy(), coeff * function(x, axes), atol=1e-12)
    top.sum().backward()
    count = math.prod(shape[i] for i in axes) if operation == "MEAN" else 1
    np.testing.assert_allclose(bottom.grad.numpy(), coeff * derivative(x) / count, atol=1e-12)


def best(row, top_k):
    """The indices of the largest values of a list, of equal ones the last first."""
    return sorted(range(len(row)), key=lambda i: (row[i], i), reverse=True)[:top_k]


@settings(max_examples=80)
@given(shape=SHAPES, out_max_val=st.booleans(), data=st.data())
def test_arg_max_along_an_axis(build, shape, out_max_val, data):
    """With an axis the indices, or the values in their place, lie along it, the larger index first among ties."""
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    top_k = data.draw(st.integers(1, shape[axis]))
    fields = f"axis: {axis} top_k: {top_k} out_max_val: {str(out_max_val).lower()}"
    x = values(shape)
    expected = np.apply_along_axis(best, axis, x, top_k)
    if out_max_val:
        expected = np.take_along_axis(x, expected, axis)
    layer = build(f'type: "ArgMax" argmax_param {{ {fields} }}', shape)
    np.testing.assert_array_equal(layer(torch.from_numpy(x)).numpy(), expected)


@settings(max_examples=80)
@given(shape=st.lists(st.integers(1, 3), min_size=1, max_size=5).map(tuple), out_max_val=st.booleans(), data=st.data())
def test_arg_max_of_items(build, shape, out_max_val, data):
    """Without an axis each item counts as one row; the values stand behind the indices; there are 3 axes or more."""
    top_k = data.draw(st.integers(1, math.prod(shape[1:])))
    x = values(shape)
    rows = x.reshape(shape[0], -1)
    indices = np.array([best(row, top_k) for row in rows])
    parts = [indices, np.take_along_axis(rows, indices, 1)] if out_max_val else [indices]
    expected = np.stack(parts, 1).reshape(shape[0], len(parts), top_k, *(1,) * (len(shape) - 3))
    fields = f"top_k: {top_k} out_max_val: {str(out_max_val).lower()}"
    layer = build(f'type: "ArgMax" argmax_param {{ {fields} }}', shape)
    np.testing.assert_array_equal(layer(torch.from_numpy(x)).numpy(), expected)
    assert layer(torch.empty(shape, device="meta")).shape == expected.shape


def test_arg_max_passes_no_gradient(build):
    """The values pass no gradient either, and are float32 as the bottom is."""
    x = torch.rand(2, 3, requires_grad=True)
    y = build('type: "ArgMax" argmax_param { axis: 1 out_max_val: true }', (2, 3))(x)
    assert not y.requires_grad
    assert y.dtype == torch.float32


@pytest.mark.parametrize(
    "text", ['type: "MVN"', 'type: "Reduction" reduction_param { axis: 1 }', 'type: "ArgMax" argmax_param { top_k: 2 }']
)
def test_any_batch_size(build, text):
    """A layer built for one batch size takes another."""
    layer, x = build(text, (4, 3, 2, 2)), torch.rand(3, 3, 2, 2)
    torch.testing.assert_close(layer(x)[1:2], layer(x[1:2]))


ERRORS = [
    ('type: "MVN"', (1, 2, 3, 4, 5), "MVN needs a bottom of 0 to 4 axes, not 5", ()),
    (
        'type: "Reduction" reduction_param { axis: 2 }',
        (2, 3),
        "axis 2 does not exist: the bottom has 2 axes",
        ("reduction_param", "axis"),
    ),
    ('type: "Reduction"', (), "axis 0 does not exist: the bottom has 0 axes", ("reduction_param", "axis")),
    ('type: "ArgMax"', (), "ArgMax needs a bottom of at least 1 axes, not 0", ()),
    (
        'type: "ArgMax" argmax_param { top_k: 0 }',
        (2, 3),
        "top_k must be from 1 to the 3 values, not 0",
        ("argmax_param", "top_k"),
    ),
    (
        'type: "ArgMax" argmax_param { top_k: 13 }',
        (2, 3, 4),
        "top_k must be from 1 to the 12 values, not 13",
        ("argmax_param", "top_k"),
    ),
    (
        'type: "ArgMax" argmax_param { top_k: 4 axis: 1 }',
        (2, 3, 4),
        "top_k must be from 1 to the 3 values, not 4",
        ("argmax_param", "top_k"),
    ),
    (
        'type: "ArgMax" argmax_param { axis: -4 }',
        (2, 3, 4),
        "axis -4 does not exist: the bottom has 3 axes",
        ("argmax_param", "axis"),
    ),
]


@pytest.mark.parametrize(("text", "bottom", "reason", "field"), ERRORS, ids=[reason for _, _, reason, _ in ERRORS])
def test_error(build, text, bottom, reason, field):
    """A wrong parameter or shape is refused with its numbers and the path of its field."""
    with pytest.raises(LayerError) as error:
        build(text, bottom)
    assert (error.value.reason, error.value.field) == (reason, field)
