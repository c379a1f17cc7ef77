"""Windows, mirror images and borders of a batch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from netspec.data.crops import Drawn, cut, cut_on_device, padded

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 3, 7, 9), dtype=np.uint8)


@settings(max_examples=50)
@given(st.integers(1, 7), st.integers(1, 9), st.integers(0, 2**32), st.booleans(), st.booleans())
def test_numpy_and_torch_cut_the_same(height, width, seed, one_place, vertical):
    """Any windows and any turns give what cutting each image by hand gives, to the bit."""
    random = np.random.default_rng(seed)
    y, x = random.integers(0, 8 - height, 5), random.integers(0, 10 - width, 5)
    if one_place:
        y[:], x[:] = y[0], x[0]
    mirror, upside_down = random.integers(0, 2, (2, 5)).astype(bool)
    drawn = Drawn(y, x, mirror, upside_down if vertical else None)
    made = cut(IMAGES, drawn, height, width)
    for i, image in enumerate(IMAGES):
        window = image[:, y[i] : y[i] + height, x[i] : x[i] + width]
        window = window[..., ::-1] if mirror[i] else window
        np.testing.assert_array_equal(made[i], window[:, ::-1] if vertical and upside_down[i] else window)
    on_device = cut_on_device(torch.from_numpy(IMAGES), drawn, drawn.table(), height, width)
    assert torch.equal(on_device, torch.from_numpy(made.copy()))


@pytest.mark.parametrize(("fill", "dtype"), [([1, 2, 3], torch.uint8), ([0.5], torch.float32)])
def test_padding_is_of_the_colour(fill, dtype):
    """The image stays inside its border, whose colour is exact: a broken one makes uint8 images float32."""
    colour = np.array(fill, np.float32)[:, None, None]
    out = padded(torch.from_numpy(IMAGES), 2, colour)
    assert out.dtype == dtype
    wanted = np.broadcast_to(colour, (5, 3, 11, 13)).copy()
    wanted[:, :, 2:-2, 2:-2] = IMAGES
    np.testing.assert_array_equal(out, wanted)
