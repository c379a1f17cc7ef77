"""Random erasing: which images, how large, where."""

import numpy as np
import pytest
import torch

from netspec.data.draws import Draws
from netspec.data.erasing import Erasing
from netspec.schema.netspec_pb2 import TransformationParameter


def erasing(shape, **fields):
    return Erasing(TransformationParameter(**fields), shape)


def test_a_rectangle_becomes_zero():
    """Inside the rectangle all channels are 0, outside nothing changes."""
    erase = erasing((3, 20, 30), erasing_probability=1, erasing_area_min=0.1, erasing_area_max=0.3)
    rectangles = erase.draw(Draws(np.arange(6), 1))
    images = torch.rand(6, 3, 20, 30) + 1
    made = erase(images.clone(), torch.from_numpy(rectangles).float())
    for image, one, (top, bottom, left, right) in zip(images, made, rectangles.tolist(), strict=True):
        assert (bottom - top) * (right - left) > 0
        image[:, top:bottom, left:right] = 0
        assert torch.equal(image, one)


@pytest.mark.parametrize("probability", [0, 0.25, 1])
def test_as_many_images_as_the_probability_says(probability):
    """The share of images with a rectangle is the probability, to five standard deviations."""
    rectangles = erasing((1, 32, 32), erasing_probability=probability).draw(Draws(np.arange(10000), 1))
    share = (rectangles[:, 1] > rectangles[:, 0]).mean()
    assert abs(share - probability) <= 5 * np.sqrt(probability * (1 - probability) / 10000)


def test_areas_are_even_and_rectangles_lie_inside():
    """The area is even between its bounds, the aspect between 0.3 and 1 / 0.3, all of it inside the image."""
    fields = {"erasing_probability": 1, "erasing_area_min": 0.02, "erasing_area_max": 0.2}
    top, bottom, left, right = erasing((1, 500, 400), **fields).draw(Draws(np.arange(20000), 1)).T
    area, aspect = (bottom - top) * (right - left) / 200000, (right - left) / (bottom - top)
    assert 0.019 < area.min() < area.max() < 0.201
    assert abs(area.mean() - 0.11) < 0.002
    assert 0.29 < aspect.min() < aspect.max() < 3.4
    assert min(top.min(), left.min()) == 0
    assert (bottom.max(), right.max()) == (500, 400)
