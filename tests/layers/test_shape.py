"""Shapes that follow the batch at hand, and single tops."""

import pytest
import torch


@pytest.mark.parametrize(
    ("text", "below", "shape"),
    [
        ('type: "Reshape" reshape_param { shape { dim: [0, -1, 2] } }', (3, 4), (7, 6, 2)),
        ('type: "Reshape" reshape_param { shape { dim: [-1, 4] } }', (3, 4), (21, 4)),
        ('type: "Reshape" reshape_param { axis: 1 num_axes: 1 }', (1, 4), (7, 4)),
        ('type: "Reshape" reshape_param { shape { dim: 1 } num_axes: 0 }', (3, 4), (1, 7, 3, 4)),
        ('type: "Flatten" flatten_param { end_axis: 1 }', (3, 4), (7, 3, 4)),
        ('type: "Slice" top: "a"', (3, 4), (7, 3, 4)),
        ('type: "Split" top: "a"', (3, 4), (7, 3, 4)),
        ('type: "Concat"', (3, 4), (7, 3, 4)),
    ],
)
def test_another_batch(build, text, below, shape):
    """A layer built for a batch of 2 takes one of 7."""
    layer = build(text, (2, *below))
    assert tuple(layer(torch.zeros(7, *below)).shape) == shape


def test_slice_of_the_batch(build):
    """Sliced along the batch, the tops share whatever batch comes."""
    tops = build('type: "Slice" top: "a" top: "b" slice_param { axis: 0 }', (4, 3))(torch.arange(18).view(6, 3))
    assert [top[0, 0].item() for top in tops] == [0, 9]


def test_silence_has_no_tops(build):
    """Silence takes any bottoms and makes nothing."""
    assert build('type: "Silence"', (2,), (3,))(torch.zeros(2), torch.zeros(3)) == ()
