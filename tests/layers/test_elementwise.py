"""Eltwise, Scale and Bias: what the recordings leave out."""

import pytest
import torch


@pytest.mark.parametrize(("values", "winner"), [((1, 1), 1), ((1, 1, 1), 1), ((2, 1, 2), 0), ((1, 1, 2), 2)])
def test_max_gives_the_gradient_to_one(build, values, winner):
    """Of equal maxima one bottom takes the whole gradient: the second of the first two, the earlier of others."""
    bottoms = [torch.tensor([float(value)], requires_grad=True) for value in values]
    build('type: "Eltwise" eltwise_param { operation: MAX }', *[(1,)] * len(values))(*bottoms).backward()
    assert [x.grad is not None and x.grad.item() == 1 for x in bottoms] == [i == winner for i in range(len(values))]


def test_gradient_of_a_product_with_zero(build):
    """The gradient of PROD is finite where a bottom is 0."""
    a, b = torch.zeros(1, requires_grad=True), torch.ones(1, requires_grad=True)
    build('type: "Eltwise" eltwise_param { operation: PROD stable_prod_grad: false }', (1,), (1,))(a, b).backward()
    assert (a.grad.item(), b.grad.item()) == (1, 0)


@pytest.mark.parametrize(
    ("fields", "below", "shape"),
    [
        ("", (2, 3, 4), (3,)),
        ("num_axes: -1", (2, 3, 4), (3, 4)),
        ("axis: -1", (2, 3, 4), (4,)),
        ("num_axes: 0", (2, 3, 4), ()),
        ("axis: 0 num_axes: 2", (2, 3, 4), (2, 3)),
    ],
)
def test_blob_shape(build, fields, below, shape):
    """The blobs of Scale and Bias have the bottom's sizes on the num_axes axes from `axis` on."""
    scale = build(f'type: "Scale" scale_param {{ {fields} bias_term: true }}', below)
    bias = build(f'type: "Bias" bias_param {{ {fields} }}', below)
    assert [tuple(blob.shape) for layer in (scale, bias) for blob in layer.blobs()] == [shape] * 3
    assert scale.blob_fillers["scale"].value == 1


def test_scale_by_a_bottom_with_bias(build):
    """With two bottoms the second one is the scale and the bias is the only blob."""
    layer = build('type: "Scale" scale_param { axis: 0 bias_term: true }', (2, 3, 4), (2, 3))
    x, s, b = torch.randn(2, 3, 4), torch.randn(2, 3), torch.randn(2, 3)
    (bias,) = layer.blobs()
    bias.data.copy_(b)
    torch.testing.assert_close(layer(x, s), x * s[..., None] + b[..., None])


@pytest.mark.parametrize("text", ['type: "Scale"', 'type: "Bias"'])
def test_scalar_bottom(build, text):
    """A second bottom without axes is laid over everything."""
    x, s = torch.randn(2, 3), torch.tensor(2.0)
    torch.testing.assert_close(build(text, (2, 3), ())(x, s), x * s if "Scale" in text else x + s)
