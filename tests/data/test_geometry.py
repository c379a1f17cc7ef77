"""Rotation, zoom and shift, against torchvision's own one image at a time."""

import numpy as np
import pytest
import torch
from google.protobuf import text_format
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from netspec.data.draws import Draw, Draws
from netspec.data.geometry import Affine, mirrored_instead
from netspec.schema.netspec_pb2 import TransformationParameter

DRAWS = Draws(np.arange(8), 5)
RANGES = "rotation: 60 zoom_min: 0.8 zoom_max: 1.5 shift: 0.2"


def parsed(text):
    return text_format.Parse(text, TransformationParameter())


def affine(text, shape, fill=0.0):
    return Affine(parsed(text), shape, np.full((shape[0], 1, 1), fill, np.float32))


def images(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 255


def run(operation, batch, draws=DRAWS):
    return operation(batch.clone(), torch.from_numpy(operation.draw(draws)).float())


def expected(image, i, text, mode, fill=None):
    """What torchvision makes of one image with the numbers that are drawn for it."""
    param, (_, height, width) = parsed(text), image.shape
    degrees = DRAWS.uniform(Draw.ROTATION, -param.rotation, param.rotation)[i]
    right = DRAWS.uniform(Draw.SHIFT_X, -param.shift, param.shift)[i] * width
    down = DRAWS.uniform(Draw.SHIFT_Y, -param.shift, param.shift)[i] * height
    zoom = DRAWS.uniform(Draw.ZOOM, param.zoom_min, param.zoom_max)[i]
    return tv.affine(image, -degrees, [right, down], zoom, [0.0, 0.0], InterpolationMode(mode), fill)


@pytest.mark.parametrize("text", ["rotation: 180", "zoom_min: 0.5 zoom_max: 2", "shift: 0.5", RANGES])
@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 12, 20)])
def test_agrees_with_torchvision(text, shape):
    """Each image is what torchvision's affine makes of it with the same numbers, to 1e-3 of 255."""
    batch = images(8, *shape)
    made = run(affine(text, shape), batch)
    for i in range(8):
        torch.testing.assert_close(made[i], expected(batch[i], i, text, "bilinear"), rtol=0, atol=0.255)


def test_agrees_with_torchvision_on_the_nearest_pixel():
    """With NEAREST all pixels but those that lie on the border between two are torchvision's."""
    batch = images(8, 3, 32, 32)
    made = run(affine(f"{RANGES} interpolation: NEAREST", (3, 32, 32)), batch)
    same = [(made[i] == expected(batch[i], i, RANGES, "nearest")).float().mean() for i in range(8)]
    assert min(same) > 0.999


def test_what_comes_from_outside_is_the_fill():
    """Blending with the fill at the border is that of an image that goes on outside in this colour."""
    batch = images(8, 3, 16, 16)
    made = run(affine(RANGES, (3, 16, 16), 100.0), batch)
    around = torch.full((8, 3, 48, 48), 100.0)
    around[:, :, 16:32, 16:32] = batch
    text = "rotation: 60 zoom_min: 0.8 zoom_max: 1.5"
    moved = run(affine(text + f" shift: {0.2 / 3}", (3, 48, 48)), around)[:, :, 16:32, 16:32]
    torch.testing.assert_close(made, moved, rtol=0, atol=0.05)


def test_bicubic_stays_within_the_colours():
    """Bicubic interpolation overshoots nowhere, and differs from bilinear."""
    batch = images(8, 3, 16, 16).round_() // 128 * 255
    made = run(affine(f"{RANGES} interpolation: BICUBIC", (3, 16, 16)), batch)
    assert made.min() == 0
    assert made.max() == 255
    assert (made - run(affine(RANGES, (3, 16, 16)), batch)).abs().max() > 10


@pytest.mark.parametrize("interpolation", ["BILINEAR", "NEAREST", "BICUBIC"])
@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_quarter_turn_is_exact(turns, interpolation):
    """A rotation by 90 degrees is counter-clockwise and moves whole pixels."""
    batch = images(8, 3, 16, 16)
    made = run(affine(f"rotation_choice: {90 * turns} interpolation: {interpolation}", (3, 16, 16)), batch)
    torch.testing.assert_close(made, batch.rot90(turns, (2, 3)), rtol=0, atol=0.01)


def test_choices_are_equally_frequent():
    """Each degree, and mirroring in place of it, comes as often as the others, to five standard deviations."""
    param = parsed("mirror: true mirror_or_rotate: true rotation_choice: [-10, -8, -6, 6, 8, 10]")
    draws = Draws(np.arange(35000), 2)
    matrices = Affine(param, (1, 9, 9), np.zeros((1, 1, 1), np.float32)).draw(draws)
    degrees = np.rint(np.degrees(np.arctan2(matrices[:, 3], matrices[:, 0]))).astype(int)
    mirrored = mirrored_instead(param, draws)
    assert (degrees[mirrored] == 0).all()
    numbers, counts = np.unique(degrees, return_counts=True)
    assert numbers.tolist() == [-10, -8, -6, 0, 6, 8, 10]
    assert ((counts - 5000) ** 2 / 5000).sum() < 6 + 5 * np.sqrt(12)


def test_ranges_are_drawn_evenly():
    """Degrees and zooms have the mean and the variance of an even draw."""
    draws = Draws(np.arange(40000), 3)
    matrices = affine("rotation: 30 zoom_min: 0.5 zoom_max: 2", (1, 8, 8)).draw(draws)
    degrees = np.degrees(np.arctan2(matrices[:, 3], matrices[:, 0]))
    zooms = 1 / np.hypot(matrices[:, 3], matrices[:, 0])
    for drawn, low, high in ((degrees, -30, 30), (zooms, 0.5, 2)):
        assert low <= drawn.min() < drawn.max() <= high
        assert abs(drawn.mean() - (low + high) / 2) < 0.01 * (high - low)
        assert abs(drawn.var() / ((high - low) ** 2 / 12) - 1) < 0.02
    assert abs(np.corrcoef(degrees, zooms)[0, 1]) < 0.03
