"""Crop, mirror, mean and scale, against what Caffe's Data layer made of the same images, and what Caffe has not."""

from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
import torch
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional as tv

from netspec.data.crops import Drawn
from netspec.data.transform import Transform
from netspec.layers.base import LayerError
from netspec.schema.netspec_pb2 import TEST, TRAIN, TransformationParameter

RECORDED = np.load(Path(__file__).parents[1] / "golden" / "transform.npz")
CASES = sorted({key.split("/")[0] for key in RECORDED.files if "/" in key})
IMAGES = torch.from_numpy(RECORDED["images"])
SHAPE = tuple(IMAGES.shape[1:])


def transform(text, phase=TRAIN, shape=SHAPE, seed=0, mean=RECORDED["mean"]):
    param = text_format.Parse(text, TransformationParameter())
    return Transform(param, phase, shape, seed, mean if param.mean_file else None)


def of_case(case, seed=0):
    """The transform of a recorded case, and every output there is for the images: (choices, N, C, h, w)."""
    text = str(RECORDED[f"{case}/param"])
    param = text_format.Parse(text, TransformationParameter())
    offsets = [range(side - (param.crop_size or side) + 1) for side in SHAPE[1:]]
    if case.startswith("TEST"):
        offsets = [[max(choices) // 2] for choices in offsets]
    made, count = transform(text, TRAIN, seed=seed), len(IMAGES)
    outputs = [
        made(IMAGES, Drawn(np.full(count, y), np.full(count, x), np.full(count, flip))).clone()
        for y, x, flip in product(*offsets, (False, True) if param.mirror else (False,))
    ]
    return transform(text, TRAIN if case.startswith("TRAIN") else TEST, seed=seed), torch.stack(outputs)


def which(images, outputs):
    """Which of the possible outputs each image is (N,), to 1e-5; an image that is none fails."""
    same = (outputs - images).abs().amax((2, 3, 4)) < 1e-5
    assert same.any(0).all()
    return same.int().argmax(0).tolist()


@pytest.mark.parametrize("case", CASES)
def test_agrees_with_caffe(case):
    """Each image that Caffe recorded is what one of the offsets and mirrors gives, to 1e-5, and so is each of ours. In
    TEST the offset is the centre, and without a mirror the whole is equal."""
    made, outputs = of_case(case)
    recorded = torch.from_numpy(RECORDED[f"{case}/data"])
    drawn = made(IMAGES, made.draw(np.arange(len(IMAGES))))
    assert drawn.shape == (len(IMAGES), *made.output_shape) == recorded.shape
    which(recorded, outputs)
    which(drawn, outputs)
    if len(outputs) == 1:
        torch.testing.assert_close(drawn, recorded, rtol=0, atol=1e-5)


def test_the_centre_is_rounded_down():
    """Testing crops at floor((H - c) / 2) on both axes."""
    crops = transform("crop_size: 4", TEST).draw(np.arange(3))
    assert (crops.y.tolist(), crops.x.tolist()) == ([2] * 3, [1] * 3)


@pytest.mark.parametrize("case", [case for case in CASES if "mirror" in case or "TRAIN_crop" in case])
def test_choices_are_uniform(case):
    """Of the outputs that a case can give each comes equally often, offsets and mirrors together, to the chi-square
    bound of five standard deviations."""
    made, outputs = of_case(case, seed=3)
    times, count = 250, len(IMAGES)
    batches = (made(IMAGES, made.draw(np.arange(count) + count * time)) for time in range(times))
    counts = np.bincount([choice for images in batches for choice in which(images, outputs)], minlength=len(outputs))
    expected = times * count / len(outputs)
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert abs(chi_square - (len(outputs) - 1)) <= 5 * np.sqrt(2 * (len(outputs) - 1))


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
    assert torch.equal(made._on_device(IMAGES.to(device), crops, crops.table().to(device)).cpu(), made(IMAGES, crops))


@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_images_of_several_sizes_are_cropped_alike(phase):
    """Each image of a list is cut within its own bounds, as if it were alone."""
    made = transform("crop_size: 4 mirror: true scale: 0.5", phase)
    images = [IMAGES[0], IMAGES[1, :, :6, :5], IMAGES[2, :, :4]]
    crops = made.draw(np.arange(3), np.array([image.shape[1:] for image in images]))
    together = made(images, crops)
    for i, image in enumerate(images):
        alone = made([image], Drawn(crops.y[i : i + 1], crops.x[i : i + 1], crops.mirror[i : i + 1]))
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
        ("crop_size: 4294967295", None, "crop_size", "crop_size is at most 16384, not 4294967295"),
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


# --- what Caffe has not -----------------------------------------------------------------------------------------------

MOVING = "rotation: 20 zoom_min: 0.9 zoom_max: 1.2 shift: 0.1"
COLOURS = "brightness_min: 0.8 brightness_max: 1.2 contrast_min: 0.7 contrast_max: 1.3 saturation_min: 0.5"
RECIPES = {
    "everything": f"resize: 20 pad: 2 crop_size: 16 mirror: true mirror_vertical: true {MOVING} fill: 100"
    f" output_size: 18 {COLOURS} blur_kernel: 5 mean_value: 120 std_value: 60 scale: 2 erasing_probability: 0.5",
    "part": f"random_resized_crop {{}} crop_size: 12 mirror: true interpolation: BICUBIC {MOVING} standardize: true",
    "nearest": "pad: 4 fill: 0.5 crop_size: 14 interpolation: NEAREST rotation_choice: [-10, 10] std_value: [1, 2, 3]",
    "mean image": 'crop_size: 6 mirror: true mirror_vertical: true contrast_min: 0.5 mean_file: "m"',
    "resized, mean image": 'resize: [15, 16] crop_size: 6 mirror: true mean_file: "m"',
}
COLOURED = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (12, 3, 15, 16), dtype=np.uint8))
MEAN = np.random.default_rng(1).random((3, 15, 16), np.float32) * 255


def recipe(name, phase=TRAIN, **options):
    return transform(RECIPES[name], phase, tuple(COLOURED.shape[1:]), mean=MEAN, **options)


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("kind", ["uint8", "float32", "several sizes"])
def test_the_shape_is_the_stated_one(name, kind):
    """In both phases images of any kind become float32 of `output_shape`, finite, and are left as they were."""
    if kind == "several sizes" and "mean_file" in RECIPES[name] and "resize" not in RECIPES[name]:
        pytest.skip("a mean image fits one size")
    stored = COLOURED.float() if kind == "float32" else COLOURED
    for phase in (TRAIN, TEST):
        if phase == TEST and "part" in name and kind == "several sizes":
            continue
        made, images, sizes = recipe(name, phase), stored.clone(), None
        if kind == "several sizes":
            images = [image[:, : 15 - i % 2] for i, image in enumerate(stored)]
            sizes = np.array([image.shape[1:] for image in images])
        out = made(images, made.draw(np.arange(12), sizes))
        assert out.dtype == torch.float32
        assert out.shape == (12, *made.output_shape)
        assert out.isfinite().all()
        assert isinstance(images, list) or torch.equal(images, stored)


@settings(max_examples=60)
@given(st.sampled_from(sorted(RECIPES)), st.lists(st.integers(1, 11), max_size=4), st.integers(0, 2**40))
def test_a_batch_split_anywhere_has_the_same_pixels(name, cuts, seed):
    """What becomes of an image depends on the seed and its position, not on its batch, to the bit."""
    made, positions = recipe(name, seed=seed), np.arange(1000, 1012)
    whole = made(COLOURED, made.draw(positions))
    ends = [0, *sorted(set(cuts)), 12]
    for first, last in pairwise(ends):
        assert torch.equal(made(COLOURED[first:last], made.draw(positions[first:last])), whole[first:last])


@pytest.mark.parametrize("name", ["everything", "part", "nearest", "resized, mean image"])
def test_images_of_several_sizes_are_made_alone(name):
    """In a list each image becomes what it becomes in a batch of its own size."""
    made, sizes = recipe(name), np.array([COLOURED.shape[2:]] * 12)
    batch = made(COLOURED, made.draw(np.arange(12)))
    torch.testing.assert_close(made(list(COLOURED), made.draw(np.arange(12), sizes)), batch, rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", ["everything", "part", "nearest"])
def test_nothing_is_random_in_test(name):
    """With another seed and other positions TEST gives the same images; only Caffe's mirror is drawn there."""
    text = RECIPES[name].replace(" mirror: true", "")
    shape = tuple(COLOURED.shape[1:])
    one, other = transform(text, TEST, shape, seed=1), transform(text, TEST, shape, seed=2)
    assert torch.equal(one(COLOURED, one.draw(np.arange(12))), other(COLOURED, other.draw(np.arange(50, 62))))


@pytest.mark.parametrize("name", RECIPES)
def test_another_seed_draws_otherwise(name):
    """Each image comes out differently with another seed, and at another position."""
    one, other = recipe(name, seed=1), recipe(name, seed=2)
    first = one(COLOURED, one.draw(np.arange(12)))
    for images in (other(COLOURED, other.draw(np.arange(12))), one(COLOURED, one.draw(np.arange(12, 24)))):
        assert (images != first).any((1, 2, 3)).sum() > 8


def test_fixed_transforms_agree_with_torchvision():
    """Resize, pad, centre crop, output_size, mean and deviation are torchvision's, in this order."""
    text = """resize: 20 resize: 24 pad: 3 fill: [1, 2, 3] crop_size: 18 center_crop: true output_size: 11
        mean_value: [104, 117, 123] std_value: [57, 58, 59] scale: 0.5"""
    made = transform(text, TRAIN, tuple(COLOURED.shape[1:]))
    images = tv.pad(tv.resize(COLOURED.float(), [20, 24]), [3], fill=[1.0, 2.0, 3.0])
    images = tv.resize(images[:, :, 4:22, 6:24], [11, 11])
    wanted = tv.normalize(images, [104.0, 117.0, 123.0], [57.0, 58.0, 59.0]) * 0.5
    torch.testing.assert_close(made(COLOURED, made.draw(np.arange(12))), wanted, rtol=0, atol=1e-5)


def test_upside_down_is_drawn_apart_from_the_mirror():
    """All four ways to turn an image are equally frequent, and a mean image is turned with it."""
    made = transform('mirror: true mirror_vertical: true mean_file: "m"', TRAIN, (3, 15, 16), mean=MEAN)
    drawn = made.draw(np.arange(40000))
    counts = np.bincount(2 * drawn.mirror + drawn.mirror_vertical)
    assert ((counts - 10000) ** 2 / 10000).sum() < 3 + 5 * np.sqrt(6)
    drawn = made.draw(np.arange(12))
    out = made(COLOURED, drawn)
    for image, one, across, down in zip(COLOURED, out, drawn.mirror, drawn.mirror_vertical, strict=True):
        axes = [axis for axis, turned in ((2, across), (1, down)) if turned]
        assert torch.equal((image - torch.from_numpy(MEAN)).flip(axes), one)


def test_standardized_images_have_mean_0_and_deviation_1():
    """Each image by its own numbers; one of a single colour becomes 0."""
    images = COLOURED.clone()
    images[0] = 77
    made = transform("standardize: true", TEST, tuple(COLOURED.shape[1:]))
    out = made(images, made.draw(np.arange(12)))
    assert out[0].abs().max() == 0
    torch.testing.assert_close(out[1:].mean((1, 2, 3)), torch.zeros(11), rtol=0, atol=1e-5)
    torch.testing.assert_close(out[1:].std((1, 2, 3), correction=0), torch.ones(11), rtol=0, atol=1e-5)


def test_erased_pixels_are_zero_in_what_the_net_sees():
    """Erasing comes after mean and scale."""
    made = transform("erasing_probability: 1 erasing_area_min: 0.3 mean_value: 300 scale: 2", TRAIN, (3, 15, 16))
    out = made(COLOURED, made.draw(np.arange(12)))
    assert ((out == 0).all(1).float().mean((1, 2)) > 0.2).all()
    assert ((out == 0) | (out <= -90)).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", RECIPES)
def test_a_gpu_gives_nearly_the_same(name):
    """The draws are those of the CPU and the pixels equal to 1e-3 of 255, standardised ones of their deviation."""
    made = recipe(name)
    drawn = made.draw(np.arange(12))
    on_gpu, on_cpu = made(COLOURED.cuda(), drawn).cpu(), made(COLOURED, drawn)
    assert ((on_gpu - on_cpu).abs() > 0.255 * made._param.scale).float().mean() < (0.01 if name == "nearest" else 1e-9)
