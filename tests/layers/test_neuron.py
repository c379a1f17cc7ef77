"""Functions of each value against their formulas, their gradients, and the constants that make no sense."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from netspec.layers import LayerError


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def power(exponent, scale, shift):
    """Text, function and derivative of a Power layer."""
    text = f'type: "Power" power_param {{ power: {exponent} scale: {scale} shift: {shift} }}'
    rise = exponent * scale

    def base_of(x):
        return shift + scale * x if shift else scale * x  # Added, 0 would take the sign of a -0.

    def slope(x):
        base = base_of(x)
        return (
            rise * base if exponent == 2 else rise * np.ones_like(x) if exponent == 1 else rise * base**exponent / base
        )

    return text, lambda x: base_of(x) ** exponent, slope


FORMULAS = [
    ('type: "AbsVal"', np.abs, np.sign),
    ('type: "BNLL"', lambda x: np.logaddexp(0, x), sigmoid),
    (
        'type: "Clip" clip_param { min: -0.5 max: 2 }',
        lambda x: np.clip(x, -0.5, 2),
        lambda x: ((x >= -0.5) & (x <= 2)) * 1.0,
    ),
    ('type: "Clip" clip_param { min: 1 max: -1 }', np.ones_like, np.zeros_like),
    ('type: "Exp"', np.exp, np.exp),
    (
        'type: "Exp" exp_param { base: 2 scale: 0.5 shift: -3 }',
        lambda x: 2 ** (x / 2 - 3),
        lambda x: 2 ** (x / 2 - 3) * math.log(2) / 2,
    ),
    ('type: "Exp" exp_param { base: 1 scale: 3 }', np.ones_like, np.zeros_like),
    ('type: "Log"', np.log, lambda x: 1 / x),
    (
        'type: "Log" log_param { base: 0.5 scale: -2 shift: 1 }',
        lambda x: -np.log2(1 - 2 * x),
        lambda x: 2 / ((1 - 2 * x) * math.log(2)),
    ),
    power(1, 1, 0),
    power(1, -0.5, 3),
    power(2, 2, 1),
    power(3, 1, 0),
    power(0.5, 2, 1),
    power(-1, 1, 2),
    power(-2.5, -1, 0),
    ('type: "Swish"', lambda x: x * sigmoid(x), lambda x: sigmoid(x) * (1 + x * sigmoid(-x))),
    (
        'type: "Swish" swish_param { beta: -2 }',
        lambda x: x * sigmoid(-2 * x),
        lambda x: sigmoid(-2 * x) * (1 - 2 * x * sigmoid(2 * x)),
    ),
    ('type: "Threshold" threshold_param { threshold: 0.5 }', lambda x: (x > 0.5) * 1.0, None),
]


@pytest.mark.parametrize(("text", "function", "derivative"), FORMULAS, ids=[text for text, _, _ in FORMULAS])
@settings(max_examples=30)
@given(values=st.lists(st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.5, 2.0]) | st.floats(-9, 9, width=32), min_size=1))
def test_formula(build, text, function, derivative, values):
    """Value and gradient are the formula's, at its special points too, and where it is infinite or NaN."""
    x = torch.tensor(values, dtype=torch.float64, requires_grad=True)
    y = build(text, tuple(x.shape))(x)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(y.detach().numpy(), function(np.array(values)), rtol=1e-12, atol=1e-12)
        if derivative is None:
            assert not y.requires_grad
            return
        y.sum().backward()
        np.testing.assert_allclose(x.grad.numpy(), derivative(np.array(values)), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("fields", "value"),
    [
        ("power: 3 scale: 0 shift: 2", 8),
        ("power: 0 scale: 2 shift: 5", 1),
        ("power: 0 shift: 0", 1),
        ("power: 0 scale: 0", 1),
        ("power: -1 scale: 0", math.inf),
        ("power: 0.5 scale: 0 shift: -1", math.nan),
    ],
)
def test_power_that_is_constant(build, fields, value):
    """Where power or scale is 0, every value is shift ^ power, 0 ^ 0 is 1, and the gradient is 0 whatever x is."""
    x = torch.tensor([-1, 0, math.inf, math.nan], requires_grad=True)
    y = build(f'type: "Power" power_param {{ {fields} }}', (4,))(x)
    np.testing.assert_array_equal(y.detach().numpy(), np.full(4, value, np.float32))
    y.sum().backward()
    assert x.grad.tolist() == [0] * 4


@pytest.mark.parametrize("exponent", [0.5, 1.5, 3])
def test_power_at_base_0(build, exponent):
    """As in Caffe the gradient at base 0 is 0 / 0, save for the powers 1 and 2."""
    x = torch.zeros(1, requires_grad=True)
    build(f'type: "Power" power_param {{ power: {exponent} }}', (1,))(x).backward()
    assert x.grad.isnan()


def test_far_from_zero(build):
    """BNLL neither overflows nor loses its small values: x above, exp(x) below."""
    x = torch.tensor([-80.0, 200.0], requires_grad=True)
    y = build('type: "BNLL"', (2,))(x)
    y.sum().backward()
    torch.testing.assert_close(y, torch.tensor([math.exp(-80), 200]))
    torch.testing.assert_close(x.grad, torch.tensor([math.exp(-80), 1]))


ERRORS = [
    ('type: "AbsVal" bottom: "x" top: "x"', "AbsVal does not work in place: give its top another name", ("top",)),
    ('type: "Clip"', "min and max must be given", ("clip_param",)),
    ('type: "Exp" exp_param { base: 0 }', "base must be above 0, or -1 for e, not 0", ("exp_param", "base")),
    ('type: "Exp" exp_param { base: inf }', "base must be above 0, or -1 for e, not inf", ("exp_param", "base")),
    ('type: "Log" log_param { base: -2 }', "base must be above 0, or -1 for e, not -2", ("log_param", "base")),
    ('type: "Log" log_param { base: nan }', "base must be above 0, or -1 for e, not nan", ("log_param", "base")),
    ('type: "Log" log_param { base: 1 }', "base must not be 1, whose logarithm is 0", ("log_param", "base")),
]


@pytest.mark.parametrize(("text", "reason", "field"), ERRORS, ids=[text for text, _, _ in ERRORS])
def test_error(build, text, reason, field):
    """A constant without meaning is refused with its value and the path of its field."""
    with pytest.raises(LayerError) as error:
        build(text, (2, 3))
    assert (error.value.reason, error.value.field) == (reason, field)
