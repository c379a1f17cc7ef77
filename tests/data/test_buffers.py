"""Memory of batches that is used again."""

import gc
import tracemalloc

import numpy as np
import pytest
import torch

from netspec.data.buffers import Buffers

SHAPE = (5, 7)


@pytest.fixture
def buffers():
    return Buffers()


def place(array):
    return array.__array_interface__["data"][0]


def test_memory_comes_back_when_nobody_holds_it(buffers):
    """The next array of the size lies where the forgotten one lay, of another type too."""
    first = place(buffers.take(SHAPE, np.float32))
    assert place(buffers.take(SHAPE, np.float32)) == first
    assert place(buffers.take((*SHAPE, 4), np.uint8)) == first


HOLDERS = {
    "array": lambda array: array,
    "view": lambda array: array[1:, ::2].T,
    "tensor": torch.from_numpy,
    "view of a tensor": lambda array: torch.from_numpy(array)[1:].numpy()[..., 0],
    "saved for backward": lambda array: torch.from_numpy(array) * torch.ones(SHAPE, requires_grad=True),
}


@pytest.mark.parametrize("hold", HOLDERS)
def test_what_is_held_is_not_written_to(hold, buffers):
    """As long as anything looks at the memory it is not handed out."""
    array = buffers.take(SHAPE, np.float32)
    first, holder = place(array), HOLDERS[hold](array)
    del array
    gc.collect()
    assert place(buffers.take(SHAPE, np.float32)) != first
    del holder
    gc.collect()
    taken = [buffers.take(SHAPE, np.float32) for _ in range(2)]
    assert first in map(place, taken)


def test_memory_of_another_size_is_let_go(buffers):
    """A batch of another size gets memory of its own, and what was free before is gone."""
    buffers.take(SHAPE, np.float32)
    assert buffers.take((3,), np.float32).shape == (3,)
    assert all(len(memory) == 12 for memory in buffers._free)


def test_batches_allocate_nothing_in_the_steady_state(pixels, store_of, opened):
    """Of 40 more batches no more bytes stay in memory than those of the few that are prepared ahead and the one at
    work, and each batch lies where one lay before."""
    size, prefetch = 96, 2  # no batches so small that several are made as one
    source = opened(
        f'type: "Data" top: "data" top: "label" data_param {{ source: "{store_of(pixels(40, 3, 20, 20))}" '
        f"batch_size: {size} prefetch: {prefetch} shuffle: true }} "
        "transform_param { crop_size: 16 mirror: true mean_value: 9 }"
    )
    places = {source.next()[0].data_ptr() for _ in range(40)}
    assert len(places) <= prefetch + 3
    tracemalloc.start()
    try:
        for _ in range(5):
            source.next()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(40):
            source.next()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < (prefetch + 2) * 4 * size * 3 * 16 * 16  # as many more may be ready than at the first look


def test_batches_that_are_kept_stay_as_they_are(pixels, store_of, opened):
    """A program that collects batches finds in each what it found when it came."""
    source = opened(
        f'type: "Data" top: "data" top: "label" data_param {{ source: "{store_of(pixels(40, 1, 6, 6))}" '
        "batch_size: 8 } transform_param { crop_size: 5 mirror: true }"
    )
    kept = [source.next()[0] for _ in range(12)]
    copies = [batch.clone() for batch in kept]
    for _ in range(12):
        source.next()
    assert all(torch.equal(batch, copy) for batch, copy in zip(kept, copies, strict=True))
    assert len({batch.data_ptr() for batch in kept}) == len(kept)
