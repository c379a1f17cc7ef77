"""Bilinear resizing, against what OpenCV made of the same images."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netspec.data.resize import resize

RECORDED = np.load(Path(__file__).parents[1] / "golden" / "resize.npz")
CASES = sorted({key.split("/")[0] for key in RECORDED.files if "/" in key})
sides = st.integers(1, 30)


@pytest.mark.parametrize("case", CASES)
def test_agrees_with_opencv(case):
    """Enlarged, reduced, halved or stretched: every bit is that of cv2.resize with INTER_LINEAR."""
    image, resized = RECORDED[f"{case}/image"], RECORDED[f"{case}/resized"]
    np.testing.assert_array_equal(resize(image, *resized.shape[1:]), resized)


@given(sides, sides, sides, sides, st.integers(0, 255))
def test_a_plain_image_stays_plain(height, width, new_height, new_width, value):
    """The weights of every pixel sum to one, whatever the sizes."""
    resized = resize(np.full((2, height, width), value, np.uint8), new_height, new_width)
    assert (resized == value).all()
    assert resized.shape == (2, new_height, new_width)


@given(sides, sides, sides, sides)
def test_mirroring_before_or_after_is_the_same(height, width, new_height, new_width):
    """The pixel centres lie evenly: a mirrored image resizes to the mirrored one, but for the rounding of weights."""
    image = np.random.default_rng(0).integers(0, 256, (1, height, width), np.uint8)
    resized = resize(image, new_height, new_width).astype(int)
    assert abs(resized - resize(image[:, ::-1, ::-1], new_height, new_width)[:, ::-1, ::-1]).max() <= 1
