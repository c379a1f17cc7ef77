"""Resizing of whole images and of random parts, against torchvision's own one image at a time."""

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from netspec.data.draws import Draws
from netspec.data.resample import BICUBIC, BILINEAR, NEAREST, RandomResizedCrop, Resize
from netspec.schema.netspec_pb2 import RandomResizedCropParameter

MODES = {
    BILINEAR: InterpolationMode.BILINEAR,
    NEAREST: InterpolationMode.NEAREST_EXACT,
    BICUBIC: InterpolationMode.BICUBIC,
}


def images(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 255


def boxes_of(crop, count, height, width, seed=5):
    return crop.draw(Draws(np.arange(count), seed), np.full(count, height), np.full(count, width))


@pytest.mark.parametrize("interpolation", MODES)
@pytest.mark.parametrize("size", [(20, 30), (7, 5), (16, 9), (12, 18)])
def test_resize_agrees_with_torchvision(interpolation, size):
    """Larger, smaller, or one side each way: torchvision's resize, cut off at 0 and 255, with uint8 images too."""
    batch = images(4, 3, 12, 18).to(torch.uint8)
    made = Resize(size, interpolation)(batch)
    wanted = tv.resize(batch.float(), list(size), MODES[interpolation], antialias=True).clamp(0, 255)
    assert made.dtype == torch.float32
    torch.testing.assert_close(made, wanted, rtol=0, atol=0)


@pytest.mark.parametrize("interpolation", MODES)
@pytest.mark.parametrize("shape", [(3, 24, 24), (1, 40, 17)])
@pytest.mark.parametrize("size", [8, 20])
def test_a_random_resized_crop_agrees_with_torchvision(interpolation, shape, size):
    """Each image is what torchvision's resized_crop makes of the box drawn for it, to 1e-4 of 255."""
    crop = RandomResizedCrop(RandomResizedCropParameter(), size, interpolation)
    batch, boxes = images(16, *shape), boxes_of(crop, 16, *shape[1:])
    made = crop(batch, torch.from_numpy(boxes))
    for image, box, one in zip(batch, boxes.tolist(), made, strict=True):
        wanted = tv.resized_crop(image, *box, [size, size], MODES[interpolation], antialias=True).clamp(0, 255)
        torch.testing.assert_close(one, wanted, rtol=0, atol=0.0255)


def test_boxes_are_those_of_the_paper():
    """Areas are even between their bounds, aspects even in their logarithm, places even within the image."""
    param = RandomResizedCropParameter(area_min=0.1, area_max=0.4, aspect_min=0.5, aspect_max=2)
    top, left, height, width = boxes_of(RandomResizedCrop(param, 8, BILINEAR), 20000, 1000, 1000).T
    drawn = [
        ((height * width / 1e6 - 0.1) / 0.3, "area"),
        ((np.log2(width / height) + 1) / 2, "aspect"),
        (top / (1000 - height), "top"),
        (left / (1000 - width), "left"),
    ]
    for numbers, name in drawn:
        assert numbers.min() > -0.01, name
        assert numbers.max() < 1.01, name
        counts, _ = np.histogram(numbers.clip(0, 1), 10, (0, 1))
        assert ((counts - 2000) ** 2 / 2000).sum() < 9 + 6 * np.sqrt(18), name  # sides are whole pixels
    assert (top + height).max() <= 1000
    assert (left + width).max() <= 1000


@pytest.mark.parametrize(
    ("height", "width", "box"),
    [(10, 1000, [0, 493, 10, 13]), (1000, 10, [493, 0, 13, 10]), (8, 8, [0, 0, 8, 8])],
)
def test_where_nothing_fits_the_centre_is_taken(height, width, box):
    """The largest box in the centre with an allowed aspect, as in torchvision."""
    param = RandomResizedCropParameter(area_min=1, area_max=1)
    boxes = boxes_of(RandomResizedCrop(param, 4, BILINEAR), 5, height, width)
    assert box in boxes.tolist()
    if height != width:
        assert (boxes == box).all()


@pytest.mark.parametrize("aspect", [100, 0.01])
@pytest.mark.parametrize("interpolation", MODES)
def test_a_box_has_a_pixel_at_least(aspect, interpolation):
    """An aspect that no whole pixels of the image have gives a line of it, not a box of nothing."""
    crop = RandomResizedCrop(RandomResizedCropParameter(aspect_min=aspect, aspect_max=aspect), 4, interpolation)
    boxes = boxes_of(crop, 5, 32, 32)
    assert boxes[:, 2:].tolist() == [[1, 32] if aspect > 1 else [32, 1]] * 5
    assert crop(images(5, 3, 32, 32), torch.from_numpy(boxes)).isfinite().all()
