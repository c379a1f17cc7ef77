"""Copies: every image once more in each epoch, through other transforms."""

from collections import Counter

import numpy as np
import pytest
import torch
from google.protobuf import text_format

from netspec.data.copies import Copies, numbers_of, transformed
from netspec.layers.base import LayerError
from netspec.schema.netspec_pb2 import TEST, TRAIN, TransformationParameter


def copies(text, phase=TRAIN, shape=(1, 6, 6)):
    return Copies(text_format.Parse(text, TransformationParameter()), phase, shape)


@pytest.fixture
def layer(store_of, pixels, opened):
    """A data layer over ten images, with a transform."""
    path = store_of(pixels(10, 1, 6, 6))

    def layer(transform, data="", **options):
        data = f'source: "{path}" backend: LMDB batch_size: 4 {data}'
        text = f'type: "Data" top: "data" top: "label" data_param {{ {data} }} transform_param {{ {transform} }}'
        return opened(text, **options)

    return layer


@pytest.mark.parametrize("shuffle", [False, True])
def test_an_epoch_has_every_image_through_every_transform(layer, shuffle):
    """With two copies an epoch is three times as long and has each image once plain and once through each of them."""
    text = "copy { scale: 10 } copy { scale: 100 }"
    feed, plain = layer(text, f"shuffle: {str(shuffle).lower()}"), layer("")
    images = torch.cat([images for images, _ in plain.once()])
    assert feed.epoch_size == 30
    for _ in range(2):
        batches = [feed.next() for _ in range(15)]
        seen = torch.cat([batch[0] for batch in batches]), torch.cat([batch[1] for batch in batches])
        for epoch in (slice(30), slice(30, 60)):
            counted = Counter()
            for image, label in zip(seen[0][epoch], seen[1][epoch].int().tolist(), strict=True):
                ratio = (image.sum() / images[label].sum()).round().int().item()
                torch.testing.assert_close(image, images[label] * ratio)
                counted[label, ratio] += 1
            assert counted == Counter((label, ratio) for label in range(10) for ratio in (1, 10, 100))
    assert len(list(feed.once())) == 8


def test_the_stream_goes_on_anywhere(layer):
    """From any position come the batches of an uninterrupted run, to the bit."""
    text = "crop_size: 4 copy { crop_size: 4 rotation: 30 }"
    whole, resumed = (layer(text, "shuffle: true", seed=3) for _ in range(2))
    batches = [whole.next() for _ in range(10)]
    resumed.position = 4 * 5
    for images, labels in batches[5:]:
        again = resumed.next()
        assert torch.equal(images, again[0])
        assert torch.equal(labels, again[1])


def test_testing_has_no_copies(layer):
    """In TEST the epoch is the set, plain."""
    feed = layer("copy { scale: 10 }", phase=TEST)
    assert feed.epoch_size == 10
    assert torch.cat([images for images, _ in feed.once()]).max() <= 255


def test_images_of_several_sizes_have_copies():
    """Each image of a list goes through its own transform."""
    made = copies("crop_size: 4 center_crop: true copy { crop_size: 4 center_crop: true scale: 2 }")
    images = [torch.full((1, side, side), float(side)) for side in (6, 5, 4, 9)]
    sizes = np.array([image.shape[1:] for image in images])
    parts = made.draw(np.arange(4), np.array([1, 0, 1, 0]), sizes)
    out = transformed(images, parts, numbers_of(parts))
    assert out[:, 0, 0, 0].tolist() == [12, 5, 8, 9]


@pytest.mark.parametrize(
    ("text", "field", "cause"),
    [
        ("crop_size: 4 copy { mirror: true }", ("copy",), "images become 1x4x4, their copies 1x6x6"),
        ("copy { rotation: 200 }", ("copy", "rotation"), "rotation 200 is not from 0 to 180"),
        ("copy { copy { } }", ("copy", "copy"), "copy is for all images: write it in transform_param itself"),
        ("copy { force_gray: true }", ("copy", "force_gray"), "force_gray is for all images"),
        ("copy { mixup_alpha: 1 }", ("copy", "mixup_alpha"), "mixup_alpha is for all images"),
    ],
)
@pytest.mark.parametrize("phase", [TRAIN, TEST])
def test_refuses_copies_that_make_no_sense(text, field, cause, phase):
    """A copy that does not fit the images or the other transforms is refused with its field, in both phases."""
    with pytest.raises(LayerError, match=cause) as caught:
        copies(text, phase)
    assert caught.value.field == ("transform_param", *field)
