"""Batches, one by one and several made at once."""

from itertools import islice

import pytest
import torch
from torch import Tensor

TRANSFORMS = {
    "caffe": "crop_size: 6 mirror: true mean_value: 9 scale: 0.5",
    "own": "rotation: 20 contrast_min: 0.5 contrast_max: 2 erasing_probability: 0.5",
    "copies": "mirror: true copy { rotation: 10 }",
}


@pytest.fixture
def source(pixels, store_of, opened):
    """Open a Data layer of small images with one of the transforms."""

    def source(transform, **options):
        path = store_of(pixels(11, 3, 8, 9))
        data = f'data_param {{ source: "{path}" backend: LMDB batch_size: 4 shuffle: true }}'
        return opened(f'type: "Data" top: "data" top: "label" {data} transform_param {{ {transform} }}', **options)

    return source


def same(ours: tuple[Tensor, ...], theirs: tuple[Tensor, ...]) -> bool:
    return len(ours) == len(theirs) and all(map(torch.equal, ours, theirs))


@pytest.mark.parametrize("name", TRANSFORMS)
def test_several_at_once_are_the_same(source, name):
    """Small batches that are made as one are, to the bit, those that are made one by one, also after a resume in the
    middle of several."""
    feed = source(TRANSFORMS[name])
    batches = feed._batches
    assert batches.at_once() > 10
    single = [batches.finish(loaded) for loaded in islice(batches.after(0), 60)]
    assert all(same(feed.next(), batch) for batch in single)
    feed.position = 7 * batches.size
    assert all(same(feed.next(), batch) for batch in single[7:])
    assert feed.position == 60 * batches.size


def test_several_are_loaded_in_one_go(source, monkeypatch):
    """Forty small batches take a few loads."""
    feed = source("crop_size: 6")
    loads = []
    load = feed._batches.load
    monkeypatch.setattr(feed._batches, "load", lambda *chosen: loads.append(1) or load(*chosen))
    for _ in range(40):
        feed.next()
    assert len(loads) < 10


@pytest.mark.parametrize(
    "name, text, options",
    [
        ("mixed", "mixup_alpha: 0.4 classes: 11", {}),
        ("of a rank", "crop_size: 6", {"rank": 1, "ranks": 2}),
    ],
)
def test_where_it_would_change_numbers_batches_are_made_one_by_one(source, name, text, options):
    """Images are mixed within a batch, and ranks take turns: there each batch is loaded by itself."""
    feed = source(text, **options)
    sizes = []
    load = feed._batches.load
    feed._batches.load = lambda chosen, positions: sizes.append(len(chosen)) or load(chosen, positions)
    for _ in range(5):
        feed.next()
    assert set(sizes) == {4}


def test_large_batches_are_made_one_by_one(pixels, store_of, opened):
    """A batch that gives the processor enough to do is made alone."""
    data = f'data_param {{ source: "{store_of(pixels(40, 3, 32, 32))}" backend: LMDB batch_size: 40 }}'
    assert opened(f'type: "Data" top: "data" {data}')._batches.at_once() == 1
