"""Dropout by random bits: the distribution of the plain layer's mask, and all else as it has it."""

import pytest
import torch
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st

from netspec.forms.dropout import RandomBits, kept
from netspec.layers.activation import Dropout
from netspec.schema.netspec_pb2 import LayerParameter

VALUES = 400_000


def dropout(fields: str = "", training: bool = True) -> RandomBits:
    param = text_format.Parse(f'type: "Dropout" dropout_param {{ {fields} }}', LayerParameter())
    return RandomBits([Dropout(param, [(VALUES,)]).train(training)])


@pytest.mark.parametrize("ratio", [0.01, 0.3, 0.5, 0.75, 0.9])
def test_share(ratio):
    """As many values are dropped as the ratio says, in every part of the blob (chi-square, 99.99%), and neighbours
    know nothing of each other."""
    torch.manual_seed(1)
    drops = 1 - kept(torch.empty(VALUES), ratio).double()
    for parts in (drops.view(8, -1), drops.view(-1, 8).t()):  # stretches, and each byte of a random word
        count = parts.shape[1]
        chi_square = ((parts.sum(1) - count * ratio) ** 2 / (count * ratio * (1 - ratio))).sum()
        assert chi_square < 31.8
    covariance = ((drops[1:] - ratio) * (drops[:-1] - ratio)).mean() / (ratio * (1 - ratio))
    assert abs(covariance) < 4 / VALUES**0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("fields", "factor"), [("", 2), ("dropout_ratio: 0.2", 1.25), ("scale_train: false", 1)])
def test_values(fields, factor, dtype):
    """A value is dropped, or multiplied as the plain layer does it; its gradient is the factor that it met."""
    x = torch.ones(1001, dtype=dtype, requires_grad=True)
    y = dropout(fields)(x)
    y.sum().backward()
    assert set(y.tolist()) == {0.0, float(torch.tensor(factor, dtype=dtype))}
    assert torch.equal(x.grad, y)
    assert y.dtype == dtype


def test_testing():
    """In testing nothing is dropped, but for the forks: without scale_train a constant is met, and
    sample_weights_test drops as in training."""
    x = torch.randn(1000)
    assert torch.equal(dropout(training=False)(x), x)
    torch.testing.assert_close(dropout("scale_train: false", training=False)(x), x / 2)
    assert (dropout("sample_weights_test: true", training=False)(x) == 0).any()


def test_seed():
    """The masks follow torch's generator: one state, one mask; and they differ from call to call."""
    x, layer = torch.ones(1000), dropout()
    state = torch.get_rng_state()
    first, second = layer(x), layer(x)
    torch.set_rng_state(state)
    assert torch.equal(layer(x), first)
    assert torch.equal(layer(x), second)
    assert not torch.equal(first, second)


@given(shape=st.lists(st.integers(1, 5), min_size=1, max_size=5), ratio=st.sampled_from([0.3, 0.5]))
def test_layout(shape, ratio):
    """The mask of any blob, dense or not, is whole and lies in memory as PyTorch lays the blob's copy."""
    for x in (
        torch.ones(shape),
        torch.ones(shape[::-1]).permute(*range(len(shape))[::-1]),
        torch.ones(()).expand(shape),
    ):
        mask = kept(x, ratio)
        assert mask.shape == x.shape
        assert mask.stride() == torch.empty_like(x).stride()
        assert set(mask.flatten().tolist()) <= {0, 1}
