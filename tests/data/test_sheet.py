"""Sheets of images."""

import numpy as np
import pytest
from PIL import Image

from netspec.data.sheet import Section, draw_sheet
from netspec.errors import DataError


def test_images_stand_on_the_sheet(tmp_path):
    """Every image is there in its colours, enlarged by a whole factor, in rows of eight."""
    images = np.zeros((9, 3, 10, 20), np.uint8)
    images[:, 0] = 200  # blue
    images[8, :, :, :] = np.array([0, 0, 200])[:, None, None]  # red
    draw_sheet([Section("title", images, [""] * 9)], tmp_path / "new" / "x.png")
    page = np.array(Image.open(tmp_path / "new" / "x.png"))
    blue, red = ((page == colour).all(2) for colour in ([0, 0, 200], [200, 0, 0]))
    assert blue.sum() == 8 * 50 * 100 and red.sum() == 50 * 100
    assert np.argwhere(red)[0][0] > np.argwhere(blue)[-1][0]
    assert np.argwhere(red)[0][1] == np.argwhere(blue)[0][1]


def test_captions_and_titles_are_drawn(tmp_path):
    """Text changes the picture below each image; letters that the font lacks do no harm; grey is grey."""
    images = np.full((2, 1, 30, 30), 90, np.uint8)
    for name, captions in (("a", ["", ""]), ("b", ["", "7 чай"])):
        draw_sheet([Section("a title " * 30, images, captions)], tmp_path / f"{name}.png")
    pages = [np.array(Image.open(tmp_path / f"{name}.png")).astype(int) for name in "ab"]
    assert (pages[0] == 90).all(2).sum() >= 2 * 120 * 120
    changed = np.argwhere((pages[0] != pages[1]).any(2))
    last = np.argwhere((pages[0] == 90).all(2))[-1]
    assert len(changed) and changed[:, 0].min() >= last[0]


def test_sections_lie_below_each_other(tmp_path):
    """The sheet is as wide as its widest section and as high as all."""
    one = Section("one", np.zeros((8, 3, 96, 96), np.uint8), [""] * 8)
    two = Section("two", np.zeros((1, 2, 96, 96), np.uint8), [""])
    sizes = []
    for sections in ([one], [two], [one, two]):
        draw_sheet(sections, tmp_path / "x.png")
        sizes.append(Image.open(tmp_path / "x.png").size)
    assert sizes[2] == (max(sizes[0][0], sizes[1][0]), sizes[0][1] + sizes[1][1])


def test_a_place_that_cannot_be_written(tmp_path):
    """A folder in the picture's place is named."""
    with pytest.raises(DataError, match="the picture cannot be written: Is a directory"):
        draw_sheet([Section("", np.zeros((1, 1, 4, 4), np.uint8), [""])], tmp_path)
