"""Convolution and InnerProduct: what the recordings leave out."""

import pytest
import torch
import torch.nn.functional as F


@pytest.mark.parametrize(
    ("text", "bottoms", "tops", "count"),
    [
        ('type: "Convolution" top: "y" convolution_param { num_output: 6 kernel_size: 3 group: 3 pad: 1 }',
         [(2, 3, 5, 4)], [(2, 6, 5, 4)], 2 * 6 * 5 * 4 * 9),
        ('type: "Convolution" top: "y" top: "z" convolution_param { num_output: 4 kernel_size: 2 }',
         [(1, 3, 5, 4)] * 2, [(1, 4, 4, 3)] * 2, 2 * 4 * 4 * 3 * 12),
        ('type: "InnerProduct" inner_product_param { num_output: 7 }', [(2, 3, 5)], [(2, 7)], 2 * 7 * 15),
        ('type: "InnerProduct" inner_product_param { num_output: 7 axis: 2 }', [(2, 3, 5)], [(2, 3, 7)], 6 * 7 * 5),
        ('type: "ReLU"', [(2, 3)], [(2, 3)], 0),
    ],
)  # fmt: skip
def test_multiply_adds(build, text, bottoms, tops, count):
    """The cost of a forward pass is one multiply-add a weight that each value of a top sees."""
    assert build(text, *bottoms).multiply_adds(bottoms, tops) == count


def test_convolution_over_one_axis(build):
    """A bottom of three axes is convolved over one."""
    layer = build('type: "Convolution" top: "y" convolution_param { num_output: 2 kernel_size: 3 }', (2, 3, 8))
    weight, bias = (torch.randn(blob.shape) for blob in layer.blobs())
    layer.load_state_dict({"weight": weight, "bias": bias})
    x = torch.randn(5, 3, 8)
    torch.testing.assert_close(layer(x), F.conv1d(x, weight, bias))


def test_one_pad_of_two(build):
    """pad_h alone leaves the other axis without padding."""
    text = 'type: "Convolution" top: "y" convolution_param { num_output: 1 kernel_size: 3 pad_h: 1 }'
    assert build(text, (1, 1, 5, 5))(torch.zeros(1, 1, 5, 5)).shape == (1, 1, 5, 3)


def test_no_filler_is_zero(build):
    """Weights without a filler are filled with the constant 0."""
    filler = build('type: "InnerProduct" inner_product_param { num_output: 2 }', (1, 3)).blob_fillers["weight"]
    assert (filler.type, filler.value) == ("constant", 0)
