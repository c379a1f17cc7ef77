"""Crop, mirror, mean and scale, against what Caffe's Data layer made of the same images."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from google.protobuf import text_format

from netspec.data.transform import Crops, Transform
from netspec.layers.base import LayerError
from netspec.schema.netspec_pb2 import TEST, TRAIN, TransformationParameter

RECORDED = np.load(Path(__file__).parents[1] / "golden" / "transform.npz")
CASES = sorted({key.split("/")[0] for key in RECORDED.files if "/" in key})
IMAGES = torch.from_numpy(RECORDED["images"])
SHAPE = tuple(IMAGES.shape[1:])


def transform(text, phase=TRAIN, shape=SHAPE, seed=0, mean=RECORDED["mean"]):
    param = text_format.Parse(text, TransformationParameter())
    return Transform(param, phase, shape, seed, mean if param.mean_file else None)


def possible(made, crop, mirror):
    """Every output there is for the images, (choices, N, C, h, w)."""
    ys, xs = (range(side - crop + 1) if crop else range(1) for side in SHAPE[1:])
    choices = product(ys, xs, (False, True) if mirror else (False,))
    count = len(IMAGES)
    return torch.stack(
        [made(IMAGES, Crops(np.full(count, y), np.full(count, x), np.full(count, flip))) for y, x, flip in choices]
    )


@pytest.mark.parametrize("case", CASES)
def test_agrees_with_caffe(case):
    """Caffe's output and ours are both among the possible ones; without chance they are equal."""
    text, phase = str(RECORDED[f"{case}/param"]), str(RECORDED[f"{case}/phase"])
    recorded = torch.from_numpy(RECORDED[f"{case}/data"])
    made = transform(text, TRAIN if phase == "TRAIN" else TEST)
    param = text_format.Parse(text, TransformationParameter())
    drawn = made(IMAGES, made.draw(np.arange(len(IMAGES))))
    assert drawn.shape == (len(IMAGES), *made.output_shape) == recorded.shape
    if not param.mirror and (phase == "TEST" or not param.crop_size):
        torch.testing.assert_close(drawn, recorded, rtol=0, atol=1e-5)
        return
    outputs = possible(transform(text, TRAIN), param.crop_size, param.mirror)
    for images in (recorded, drawn):
        assert ((outputs - images).abs().amax((2, 3, 4)) < 1e-5).any(0).all()


def test_the_centre_is_rounded_down():
    """Testing crops at floor((H - c) / 2) on both axes."""
    crops = transform("crop_size: 4", TEST).draw(np.arange(3))
    assert (crops.y.tolist(), crops.x.tolist()) == ([2] * 3, [1] * 3)


def test_draws_are_uniform():
    """Offsets and flips are equally frequent in all combinations, to five standard deviations."""
    crops = transform("crop_size: 5 mirror: true", seed=3).draw(np.arange(30000))
    counts = np.bincount((crops.y * 3 + crops.x) * 2 + crops.mirror)
    chi_square = ((counts - 1000) ** 2 / 1000).sum()
    assert len(counts) == 5 * 3 * 2
    assert abs(chi_square - 29) < 5 * np.sqrt(2 * 29)


def test_draws_depend_on_seed_and_position_only():
    """A record's draws are the same in any batch, and others with another seed."""
    made, other = (transform("crop_size: 2 mirror: true", seed=seed) for seed in (1, 2))
    whole, part = made.draw(np.arange(100)), made.draw(np.arange(40, 60))
    for name in ("y", "x", "mirror"):
        np.testing.assert_array_equal(getattr(whole, name)[40:60], getattr(part, name))
        assert (getattr(other.draw(np.arange(100)), name) != getattr(whole, name)).any()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_every_device_gives_the_same_bits(case, device):
    """What runs on a device equals what the CPU's own way computes, to the bit."""
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    made = transform(str(RECORDED[f"{case}/param"]), TRAIN if "TRAIN" in case else TEST)
    crops = made.draw(np.arange(len(IMAGES)))
    assert torch.equal(made._on_device(IMAGES.to(device), crops).cpu(), made(IMAGES, crops))


@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_images_of_several_sizes_are_cropped_alike(phase):
    """Each image of a list is cut within its own bounds, as if it were alone."""
    made = transform("crop_size: 4 mirror: true scale: 0.5", phase)
    images = [IMAGES[0], IMAGES[1, :, :6, :5], IMAGES[2, :, :4]]
    crops = made.draw(np.arange(3), np.array([image.shape[1:] for image in images]))
    together = made(images, crops)
    for i, image in enumerate(images):
        alone = made([image], Crops(crops.y[i : i + 1], crops.x[i : i + 1], crops.mirror[i : i + 1]))
        torch.testing.assert_close(together[i], alone[0], rtol=0, atol=0)


def test_leaves_its_input_alone():
    """The stored images are the same after a mirror."""
    images = IMAGES.clone()
    made = transform("mirror: true scale: 2")
    made(images, made.draw(np.arange(len(images))))
    assert torch.equal(images, IMAGES)


@pytest.mark.parametrize(
    ("text", "mean", "field", "cause"),
    [
        ("crop_size: 8", None, "crop_size", "crop_size 8 is larger than the images, 3x9x7"),
        ("crop_size: 4294967295", None, "crop_size", "larger than the images"),
        ("mean_value: 1 mean_value: 2", None, "mean_value", "2 mean_value for images of 3 channels; give 1 or 3"),
        ('mean_value: 1 mean_file: "m"', RECORDED["mean"], "mean_value", "mean_file or mean_value, not both"),
        ('mean_file: "m"', np.zeros((3, 9, 8), np.float32), "mean_file", "3x9x8, the uncropped images are 3x9x7"),
    ],
)
def test_refuses_what_makes_no_sense(text, mean, field, cause):
    """A message that does not fit the images is refused with its field."""
    with pytest.raises(LayerError, match=cause) as caught:
        transform(text, mean=mean)
    assert caught.value.field == ("transform_param", field)
