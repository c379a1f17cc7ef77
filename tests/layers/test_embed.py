"""Embed as rows of its weight, Parameter as its blob, and what they refuse."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from netspec import Net, parse_net
from netspec.errors import DataError
from netspec.layers import LayerError


def embed(fields=""):
    return f'name: "words" type: "Embed" embed_param {{ num_output: 3 input_dim: 4 {fields} }}'


@settings(max_examples=40)
@given(
    indices=st.lists(st.integers(0, 3), min_size=6, max_size=6),
    bias=st.booleans(),
    shape=st.sampled_from([(6,), (2, 3), (1, 3, 2)]),
)
def test_embed(build, indices, bias, shape):
    """The top is a row of the weight for each index, plus the bias; a row's gradient counts how often it was taken."""
    layer = build(embed(f"bias_term: {str(bias).lower()}"), shape)
    for blob in layer.blobs():
        torch.nn.init.normal_(blob)
    y = layer(torch.tensor(indices, dtype=torch.float32).reshape(shape))
    rows = layer.weight[indices] + (layer.bias if bias else 0)
    assert torch.equal(y, rows.reshape(*shape, 3))
    y.sum().backward()
    assert layer.weight.grad[:, 0].tolist() == [indices.count(i) for i in range(4)]
    assert [tuple(blob.shape) for blob in layer.blobs()] == [(4, 3), (3,)][: 1 + bias]
    assert not bias or layer.bias.grad.tolist() == [6] * 3


@pytest.mark.parametrize("index", [-1, 4])
def test_embed_outside(build, index):
    """An index without a row is the data's error, and names the layer."""
    with pytest.raises(DataError, match=rf'layer "words": the index {index} is not from 0 to 3'):
        build(embed(), (2,))(torch.tensor([0.0, index]))


NET = """
layer { name: "p" type: "Parameter" top: "p" param { name: "shared" } parameter_param { shape { dim: [2, 3] } } }
layer { name: "q" type: "Parameter" top: "q" param { name: "shared" } parameter_param { shape { dim: [2, 3] } } }
layer { name: "relu" type: "ReLU" bottom: "q" top: "q" relu_param { negative_slope: 2 } }
layer { name: "sum" type: "Eltwise" bottom: "p" bottom: "q" top: "y" }
"""


def test_parameter_in_a_net():
    """A Parameter's top is its blob, 0 at first; it may be shared, and what follows in place leaves it as it is."""
    net = Net(parse_net(NET), phase="TRAIN")
    blob = net.layer_params["p"][0]
    assert blob.shape == (2, 3)
    assert not blob.any()
    torch.nn.init.constant_(blob, -1)
    y = net()["y"]
    assert y.unique().tolist() == [-3]
    y.sum().backward()
    assert blob.unique().tolist() == [-1]
    assert blob.grad.unique().tolist() == [3]


ERRORS = [
    (
        'type: "Embed" embed_param { input_dim: 4 }',
        "num_output must be given and at least 1",
        ("embed_param", "num_output"),
    ),
    (
        'type: "Embed" embed_param { num_output: 4 }',
        "input_dim must be given and at least 1",
        ("embed_param", "input_dim"),
    ),
    (
        'type: "Parameter" parameter_param { shape { dim: [2, -3] } }',
        "shape (2, -3) has a negative size",
        ("parameter_param", "shape"),
    ),
]


@pytest.mark.parametrize(("text", "reason", "field"), ERRORS, ids=[reason for _, reason, _ in ERRORS])
def test_error(build, text, reason, field):
    """A wrong size is refused with the path of its field."""
    with pytest.raises(LayerError) as error:
        build(text, (2,))
    assert (error.value.reason, error.value.field) == (reason, field)
