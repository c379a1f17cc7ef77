"""Mixup and CutMix: what is drawn, what becomes of images and labels, and what is refused."""

from math import asin, pi, sqrt

import numpy as np
import pytest
import torch
from google.protobuf import text_format

from netspec.data.mix import Mixing, beta, mixing_of
from netspec.data.order import words
from netspec.errors import DataError
from netspec.layers.base import LayerError
from netspec.schema.netspec_pb2 import TEST, TRAIN, Datum, LayerParameter, TransformationParameter

DRAWS = 20_000
CLASSES = 5
SIZE = (3, 9, 7)
BOTH = "mixup_alpha: 0.4 cutmix_alpha: 2"
KINDS = ["mixup_alpha: 0.4", "cutmix_alpha: 2", BOTH]
# P(X <= x) for X from Beta(alpha, alpha)
DISTRIBUTIONS = {
    0.5: lambda x: 2 / pi * asin(sqrt(x)),
    1.0: lambda x: x,
    2.0: lambda x: x**2 * (3 - 2 * x),
    3.0: lambda x: x**3 * (10 - 15 * x + 6 * x**2),
}


def mixing(text):
    return Mixing(text_format.Parse(f"{text} classes: {CLASSES}", TransformationParameter()), SIZE, "data")


def draws(alpha):
    counters = np.arange(DRAWS)
    return beta(words(counters, 0, 1), words(counters, 0, 2), np.full(DRAWS, alpha))


@pytest.mark.parametrize("alpha", DISTRIBUTIONS)
def test_draws_have_the_distribution(alpha):
    """Where the distribution has a simple form, the Kolmogorov-Smirnov statistic stays below its 0.1% level."""
    expected = np.array([DISTRIBUTIONS[alpha](x) for x in np.sort(draws(alpha))])
    places = np.arange(DRAWS) / DRAWS
    assert max(abs(expected - places).max(), abs(expected - places - 1 / DRAWS).max()) < 1.95 / sqrt(DRAWS)


@pytest.mark.parametrize("alpha", [1e-30, 0.01, 0.2, 0.4, 1.0, 8.0, 1e30])
def test_draws_have_the_moments(alpha):
    """For any alpha the draws lie in 0..1, and mean and variance are right to five standard errors."""
    part = draws(alpha)
    variance, fourth = 1 / (4 * (2 * alpha + 1)), 3 / (16 * (2 * alpha + 1) * (2 * alpha + 3))
    assert ((part >= 0) & (part <= 1)).all()
    assert abs(part.mean() - 0.5) <= 5 * sqrt(variance / DRAWS)
    assert abs(((part - 0.5) ** 2).mean() - variance) <= 5 * sqrt(max(fourth - variance**2, 0) / DRAWS) + 1e-12


def test_draws_depend_on_seed_and_position_alone():
    """What an image is mixed by is the same in any batch; another seed gives others."""
    made = mixing(BOTH)
    whole, part = made.draw(np.arange(100), 3), made.draw(np.arange(40, 60), 3)
    assert (whole.weight[40:60] == part.weight).all()
    assert (whole.first[:, 40:60] == part.first).all()
    assert (whole.last[:, 40:60] == part.last).all()
    assert (made.draw(np.arange(100), 4).weight != whole.weight).any()


def test_partners_are_the_batch_in_another_order():
    """Every image is the partner of one; over the batches each place meets each about as often."""
    made = mixing(BOTH)
    partners = np.stack([made.draw(np.arange(first, first + 4), 0).partner for first in range(0, 4000, 4)])
    assert (np.sort(partners) == np.arange(4)).all()
    counts = np.array([np.bincount(column, minlength=4) for column in partners.T])
    assert abs(counts - 250).max() < 5 * sqrt(1000 * 3 / 16)


def test_boxes_are_those_of_the_paper():
    """CutMix draws the centre evenly among the pixels; around it lie int(side * sqrt(part)) // 2 pixels each way, cut
    at the border, and they are taken over whole."""
    made, positions = mixing("cutmix_alpha: 1"), np.arange(DRAWS)
    mix = made.draw(positions, 0)
    assert (mix.weight == 1).all()
    heights, widths = mix.last - mix.first
    area = heights * widths / (SIZE[1] * SIZE[2])
    loops = []
    random = np.random.default_rng(0)
    for part in random.random(DRAWS):
        sides = []
        for size in SIZE[1:]:
            cut, centre = int(size * sqrt(part)), random.integers(size)
            sides.append(min(max(centre + cut // 2, 0), size) - min(max(centre - cut // 2, 0), size))
        loops.append(sides[0] * sides[1] / (SIZE[1] * SIZE[2]))
    both = np.sort(np.unique([*loops, *area]))
    steps = [np.searchsorted(np.sort(areas), both, "right") / DRAWS for areas in (loops, area)]
    assert abs(steps[0] - steps[1]).max() < 1.95 * sqrt(2 / DRAWS)
    assert ((mix.first >= 0) & (mix.last <= np.array(SIZE[1:])[:, None])).all()


def test_both_are_drawn_evenly():
    """With both alphas half of the images are cut, the others mixed whole; which, and by how much, is independent of
    each other and of the partner."""
    mix = mixing(BOTH).draw(np.arange(DRAWS), 0)
    cut, area = mix.weight == 1, (mix.last - mix.first).prod(axis=0)
    assert abs(cut.mean() - 0.5) < 2.5 / sqrt(DRAWS)
    assert (area[~cut] == SIZE[1] * SIZE[2]).all()
    assert abs(mix.weight[~cut].var() - 1 / (4 * 1.8)) < 0.01
    for drawn in (cut, np.where(cut, area, mix.weight)):
        assert abs(np.corrcoef(drawn[mix.partner], np.arange(DRAWS))[0, 1]) < 5 / sqrt(DRAWS)


@pytest.mark.parametrize("text", KINDS)
def test_images_show_what_labels_say(text):
    """Of images that show their class as a grey, the mean is that of the shares, exact to the pixel."""
    made = mixing(text)
    labels = np.arange(64) % CLASSES
    mix = made.draw(np.arange(64), 1)
    images = torch.from_numpy(labels.astype(np.float32))[:, None, None, None].repeat(1, *SIZE)
    mixed, shares = made(images, mix), made.shares(labels.astype(np.float64), mix, str)
    assert shares.shape == (64, CLASSES)
    np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-12)
    np.testing.assert_allclose(mixed.mean((1, 2, 3)), shares @ np.arange(CLASSES), rtol=1e-5, atol=1e-6)
    assert ((shares > 0).sum(1) == 2).mean() > 0.3


def test_mixup_by_hand(pixels):
    """Each image is (1 - part) times itself and part times its partner."""
    made, images = mixing("mixup_alpha: 1"), pixels(8, *SIZE).astype(np.float32)
    mix = made.draw(np.arange(8), 0)
    for index, image in enumerate(made(torch.from_numpy(images.copy()), mix).numpy()):
        part = mix.weight[index]
        np.testing.assert_allclose(image, (1 - part) * images[index] + part * images[mix.partner[index]], rtol=1e-6)


def test_cutmix_by_hand(pixels):
    """Each image is itself, but for a box, which is that of its partner, both to the bit."""
    made, images = mixing("cutmix_alpha: 1"), pixels(8, *SIZE).astype(np.float32)
    mix = made.draw(np.arange(8), 0)
    for index, image in enumerate(made(torch.from_numpy(images.copy()), mix).numpy()):
        (y0, x0), (y1, x1) = mix.first[:, index], mix.last[:, index]
        expected = images[index].copy()
        expected[:, y0:y1, x0:x1] = images[mix.partner[index], :, y0:y1, x0:x1]
        assert (image == expected).all()


@pytest.mark.parametrize("text", KINDS)
def test_a_device_mixes_alike(text, pixels):
    """The tensor path is the numpy path."""
    made, images = mixing(text), torch.from_numpy(pixels(16, *SIZE).astype(np.float32))
    mix = made.draw(np.arange(16), 0)
    torch.testing.assert_close(made._on_device(images.clone(), mix.table()), made(images, mix), rtol=1e-6, atol=1e-5)


LAYER = 'name: "data" type: "Data" top: "data" top: "label" data_param {{ source: "{}" batch_size: 4 shuffle: true }}'


@pytest.fixture
def open_layer(store_of, pixels, opened):
    """Open a Data layer of ten images, labelled 0 to 9, by the text of its transform."""
    path = store_of(pixels(10, *SIZE))
    return lambda text, **options: opened(f"{LAYER.format(path)} transform_param {{ {text} }}", **options)


def test_tops(open_layer):
    """In TRAIN the label top is (N, classes); in TEST nothing is mixed."""
    text = f"{BOTH} classes: 12"
    train, test, plain = open_layer(text), open_layer(text, phase=TEST), open_layer("", phase=TEST)
    assert train.shapes == [(4, *SIZE), (4, 12)]
    assert test.shapes == [(4, *SIZE), (4,)]
    assert [tuple(top.shape) for top in train.next()] == train.shapes
    assert all(map(torch.equal, test.next(), plain.next()))


def test_what_is_mixed_is_what_comes(open_layer):
    """The records of a batch are those that come without mixing, transformed before they are mixed."""
    transform = "crop_size: 6 mirror: true scale: 0.5"
    mixed, plain = open_layer(f"{transform} {BOTH} classes: 10", seed=7), open_layer(transform, seed=7)
    made = Mixing(text_format.Parse(f"{BOTH} classes: 10", TransformationParameter()), (3, 6, 6), "data")
    for first in range(0, 24, 4):
        images, labels = plain.next()
        mix = made.draw(np.arange(first, first + 4), 7)
        found = mixed.next()
        assert torch.equal(found[0], made(images, mix))
        np.testing.assert_array_equal(found[1], made.shares(labels.double().numpy(), mix, str).astype(np.float32))


def test_positions_and_seeds(open_layer):
    """A batch depends on nothing but its position and the seed; a whole pass ends with a short batch."""
    text = f"{BOTH} classes: 10"
    straight, resumed, other = open_layer(text), open_layer(text), open_layer(text, seed=1)
    for _ in range(5):
        straight.next()
    resumed.position = 20
    expected = straight.next()
    assert all(map(torch.equal, resumed.next(), expected))
    other.reseed(0)
    other.position = 20
    assert all(map(torch.equal, other.next(), expected))
    assert [len(shares) for _, shares in straight.once()] == [4, 4, 2]


def test_labels_are_held_against_the_classes(open_layer):
    """A label that is none of the classes is named, with its record, and no image is mixed by it."""
    with pytest.raises(DataError, match=r"record 9 .* has the label 9, but layer 'data' knows 0 to 8"):
        list(open_layer(f"{BOTH} classes: 9").once())


def test_memory_data_is_mixed(opened, pixels):
    """Images that the program hands over are mixed too."""
    memory = "memory_data_param { batch_size: 4 channels: 3 height: 9 width: 7 }"
    source = opened(f'type: "MemoryData" top: "d" top: "l" {memory} transform_param {{ mixup_alpha: 1 classes: 5 }}')
    source.set(pixels(4, *SIZE), np.arange(4))
    assert source.next()[1].shape == (4, 5)


WRONG = [
    ("mixup_alpha: 1", "mixup_alpha needs classes, the number of classes: at least 2, not 0", "mixup_alpha"),
    ("cutmix_alpha: 1 classes: 1", "cutmix_alpha needs classes, the number of classes: at least 2, not 1", "classes"),
    ("mixup_alpha: -1 classes: 5", "mixup_alpha must be 0 or more, not -1", "mixup_alpha"),
    ("cutmix_alpha: -0.5 classes: 5", "cutmix_alpha must be 0 or more, not -0.5", "cutmix_alpha"),
]


@pytest.mark.parametrize(("text", "reason", "field"), WRONG)
def test_wrong_messages(text, reason, field):
    """What cannot be mixed is refused at its field."""
    param = text_format.Parse(f'top: "data" top: "label" transform_param {{ {text} }}', LayerParameter())
    with pytest.raises(LayerError) as error:
        mixing_of(param, TRAIN, SIZE)
    assert error.value.reason == reason
    assert error.value.field == ("transform_param", field)


def test_no_label_top():
    """A layer without a top for labels is refused in TRAIN alone."""
    param = text_format.Parse('top: "data" transform_param { mixup_alpha: 1 classes: 5 }', LayerParameter())
    with pytest.raises(LayerError, match="mixes labels too, but the layer has no top for them"):
        mixing_of(param, TRAIN, SIZE)
    assert mixing_of(param, TEST, SIZE) is None


def test_several_labels(store_of, opened):
    """Images with several labels are not mixed."""
    path = store_of([Datum(channels=1, height=2, width=2, data=bytes(4), labels=[1, 2])])
    with pytest.raises(LayerError, match="mixing needs one label an image; here each has 2"):
        opened(f"{LAYER.format(path)} transform_param {{ mixup_alpha: 1 classes: 5 }}")
