"""The windows that are scored."""

import numpy as np
import pytest
import torch
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from torchvision import transforms

from netspec.data.copies import Copies, numbers_of, transformed
from netspec.schema.netspec_pb2 import TEST, TransformationParameter
from netspec.scoring import CENTER, Crops, parse_crops


def windows(crops, down=4, right=6, position=0):
    """The offsets and mirrors of an image's windows."""
    found = crops(*(np.array([number]) for number in (position, down, right)))
    return [(int(y[0]), int(x[0]), mirrored) for y, x, mirrored in found]


CORNERS = [(0, 0), (0, 6), (4, 0), (4, 6), (2, 3)]

FORMS = {
    "center": [(2, 3, False)],
    "5": [(*place, False) for place in CORNERS],
    "10": [(*place, mirrored) for mirrored in (False, True) for place in CORNERS],
    "grid:1": [(2, 3, False)],
    "grid:2": [(*place, False) for place in CORNERS[:4]],
    "grid:3": [(y, x, False) for y in (0, 2, 4) for x in (0, 3, 6)],
}


@pytest.mark.parametrize("form", FORMS)
def test_where_windows_lie(form):
    """Each form has its places, corners row by row, and says how many they are."""
    crops = parse_crops(form)
    assert windows(crops) == FORMS[form]
    assert len(crops) == len(FORMS[form])


def test_mirrors_follow():
    """With mirror the mirror images of all windows follow them."""
    assert windows(Crops(mirror=True)) == [(2, 3, False), (2, 3, True)]
    assert len(Crops("grid", 3, True)) == 18
    assert parse_crops("10") == Crops("corners", mirror=True)


@given(
    st.sampled_from(["center", "5", "10", "grid:2", "grid:7", "random:9"]),
    st.integers(0, 300),
    st.integers(0, 300),
    st.integers(0, 10**6),
)
def test_windows_lie_within(form, down, right, position):
    """Every window is within the image, and there are as many as the form says."""
    found = windows(parse_crops(form), down, right, position)
    assert len(found) == len(parse_crops(form))
    assert all(0 <= y <= down and 0 <= x <= right for y, x, _ in found)


def test_random_windows():
    """Windows at random are others for each image and for each of them, and the same at each call."""
    crops = parse_crops("random:50")
    assert windows(crops, 100, 100) == windows(crops, 100, 100)
    assert windows(crops, 100, 100) != windows(crops, 100, 100, position=1)
    assert len(set(windows(crops, 100, 100))) > 45
    assert {y for y, _, _ in windows(parse_crops("random:1000"), 1, 0)} == {0, 1}


@pytest.mark.parametrize("text", ["", "centre", "11", "random", "random:", "random:0", "random:-1", "grid:x", "grid:²"])
def test_texts_that_are_no_crops(text):
    """Anything else is refused with the forms that there are."""
    with pytest.raises(ValueError, match=r"is none of center, 5, 10, random:K or grid:K"):
        parse_crops(text)


def test_too_many():
    """A slip of the finger does not mean millions of windows."""
    with pytest.raises(ValueError, match='"grid:1000" means 1000000 windows of each image, 1024 are the most'):
        parse_crops("grid:1000")


def cut(images, text, crops):
    """Images (N, C, H, W) through a transform, cut as crops say: (N, K, C, h, w)."""
    copies = Copies(text_format.Parse(text, TransformationParameter()), TEST, tuple(images[0].shape))
    copies.windows = crops
    sizes = None if isinstance(images, torch.Tensor) else np.array([image.shape[1:] for image in images])
    parts = copies.draw(np.arange(len(images)), np.zeros(len(images), int), sizes)
    out = transformed(images, parts, numbers_of(parts))
    return out.reshape(len(images), len(crops), *out.shape[1:])


@pytest.mark.parametrize("sizes", [(9, 11), (9, 9), (5, 7)])
def test_ten_crops_are_torchvisions(sizes):
    """The ten windows are those of torchvision's TenCrop, in Caffe's order: mirror images of the same windows."""
    images = torch.randint(256, (3, 3, *sizes), dtype=torch.uint8)
    ours = cut(images, "crop_size: 5", parse_crops("10"))
    theirs = torch.stack(transforms.TenCrop(5)(images), 1).float()
    order = [0, 1, 2, 3, 4, 6, 5, 8, 7, 9]  # torchvision takes the corners of the mirror image
    assert torch.equal(ours, theirs[:, order])


TEN = Crops("corners", mirror=True)


def test_a_hand_made_case():
    """Mean and scale are those of each window: the mean image is cut and mirrored with it."""
    image = torch.arange(9, dtype=torch.uint8).reshape(1, 1, 3, 3)
    out = cut(image, "crop_size: 2 scale: 0.5 mean_value: 1", TEN)[0, :, 0]
    plain = [[0, 1, 3, 4], [1, 2, 4, 5], [3, 4, 6, 7], [4, 5, 7, 8], [0, 1, 3, 4]]
    mirrored = [[b, a, d, c] for a, b, c, d in plain]
    assert out.flatten(1).tolist() == [[(x - 1) / 2 for x in row] for row in plain + mirrored]


def test_images_of_several_sizes():
    """Each image has its own corners."""
    images = [torch.randint(256, (3, *size), dtype=torch.uint8) for size in ((6, 9), (8, 7))]
    together = cut(images, "crop_size: 5", TEN)
    alone = [cut(image[None], "crop_size: 5", TEN)[0] for image in images]
    assert torch.equal(together, torch.stack(alone))


def test_the_centre_is_caffes():
    """One window is what a test net sees, but for a mirror at random."""
    images = torch.randint(256, (4, 3, 8, 9), dtype=torch.uint8)
    copies = Copies(text_format.Parse("crop_size: 5 mean_value: 7", TransformationParameter()), TEST, (3, 8, 9))
    parts = copies.draw(np.arange(4), np.zeros(4, int))
    expected = transformed(images, parts, numbers_of(parts))
    assert torch.equal(cut(images, "crop_size: 5 mean_value: 7 mirror: true", CENTER)[:, 0], expected)
