"""Batches on their way to a GPU, with a stream that copies as late as it may, and with a real one."""

from contextlib import nullcontext
from itertools import islice

import numpy as np
import pytest
import torch

from netspec.data import side_stream
from netspec.data.lmdb_store import LmdbStore
from netspec.data.records import Records
from netspec.data.residence import Resident
from netspec.data.side_stream import SideStream

CPU = torch.device("cpu")
CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
TYPES = [torch.uint8, torch.float32, torch.int64, torch.bool]
LAYERS = {
    "caffe": "crop_size: 5 mirror: true mean_value: 9 scale: 0.5",
    "own": "pad: 2 fill: 7 crop_size: 6 mirror_vertical: true rotation: 20 brightness_max: 2 erasing_probability: 0.5",
    "copies": "crop_size: 5 mirror: true copy { random_resized_crop { } crop_size: 5 } copy { output_size: 5 }",
    "mixed": "crop_size: 5 mirror: true mixup_alpha: 0.4 cutmix_alpha: 1 classes: 11",
}


class LateCopies:
    """Stands for torch.cuda: a copy is made when something waits for the event behind it, and not before."""

    def __init__(self):
        self.queued, self.made, self.held = [], 0, []

    def Stream(self, device):  # noqa: N802
        return self

    def Event(self):  # noqa: N802
        return LateEvent(self)

    def stream(self, stream):
        return nullcontext()

    def current_stream(self, device):
        return self

    def wait_event(self, event):
        event.synchronize()

    def copy(self, to, source):
        self.queued.append((to, source))
        return to


class LateEvent:
    """What comes before it on the stream was queued when it was recorded."""

    def __init__(self, late):
        self.late, self.behind = late, 0

    def record(self):
        self.behind = len(self.late.queued)

    def synchronize(self):
        while self.late.made < self.behind:
            to, source = self.late.queued[self.late.made]
            to[:] = source
            self.late.made += 1


@pytest.fixture
def late(monkeypatch):
    """Copies that do not block are made late."""
    late, copy = LateCopies(), torch.Tensor.copy_

    def copy_(to, source, non_blocking=False):
        return late.copy(to, source) if non_blocking else copy(to, source)

    monkeypatch.setattr(side_stream, "cuda", late)
    monkeypatch.setattr(side_stream, "pinned_bytes", lambda size: torch.empty(size, dtype=torch.uint8))
    monkeypatch.setattr(torch.Tensor, "copy_", copy_)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda tensor, stream: late.held.append((tensor, stream)))
    return late


def tensors_of(seed):
    """A tensor of each type, of sizes that differ from batch to batch, and an empty one."""
    random = np.random.default_rng(seed)
    arrays = [random.integers(0, 2 if kind == torch.bool else 200, (3 + seed % 3, 5)) for kind in TYPES]
    return [*(torch.from_numpy(a).to(kind) for a, kind in zip(arrays, TYPES, strict=True)), torch.empty(4, 0)]


def same(made, wanted):
    return len(made) == len(wanted) and all(
        a.dtype == b.dtype and torch.equal(a.cpu(), b) for a, b in zip(made, wanted, strict=True)
    )


def test_tensors_arrive_whole_and_in_order(late):
    """Each batch is what it was when its move began, however many are on their way and whatever is written since."""
    side, moved = SideStream(CPU), []
    for seed in range(7):
        tensors = tensors_of(seed)
        moved.append(side.move(tensors))
        for tensor in tensors:
            tensor.zero_()
    for seed, batch in enumerate(moved):
        assert same(batch.tensors(), tensors_of(seed))


def test_one_copy_a_batch_and_two_buffers(late):
    """A batch is one copy; two are on their way before anything waits, and the third waits for the first alone."""
    side = SideStream(CPU)
    for count, made in ((1, 0), (2, 0), (3, 1), (4, 2)):
        side.move(tensors_of(0))
        assert (len(late.queued), late.made) == (count, made)
    assert len({source.data_ptr() for _, source in late.queued}) == 2


def test_memory_is_held_for_the_stream_that_computes(late):
    """What is taken over is recorded on the stream that takes it."""
    moved = SideStream(CPU).move(tensors_of(0))
    moved.tensors()
    ((buffer, stream),) = late.held
    assert buffer.data_ptr() == moved.buffer.data_ptr()
    assert stream is late


@pytest.fixture
def path(pixels, store_of):
    return store_of(pixels(11, 3, 8, 9))


def layer(path, transform):
    return (
        f'name: "data" type: "Data" top: "data" top: "label" data_param {{ source: "{path}" backend: LMDB batch_size: 4'
        f" shuffle: true }} transform_param {{ {transform} }}"
    )


@pytest.mark.parametrize("where", ["host", "resident"])
@pytest.mark.parametrize("name", LAYERS)
def test_moved_batches_are_the_same(name, where, late, path, opened):
    """A batch that moved by the side stream, in one copy, is the one that was made without it."""
    source, expected = (opened(layer(path, LAYERS[name])) for _ in range(2))
    batches = source._batches
    if where == "resident":
        batches._resident = Resident(Records(LmdbStore(path)), CPU, insisting=True)
    moved = [batches.pin(loaded) for loaded in islice(batches.after(0), 5)]
    assert len(late.queued) == 5
    assert all(same(batches.finish(loaded), expected.next()) for loaded in moved)


def test_images_of_several_sizes_move_as_one(late, pixels, store_of, opened):
    """Images in a list take one copy too."""
    path = store_of([*pixels(3, 3, 8, 9), *pixels(3, 3, 7, 10)], "several")
    source, expected = (opened(layer(path, LAYERS["caffe"])) for _ in range(2))
    moved = [source._batches.pin(loaded) for loaded in islice(source._batches.after(0), 5)]
    assert len(late.queued) == 5
    assert all(same(source._batches.finish(loaded), expected.next()) for loaded in moved)


@CUDA
def test_tensors_arrive_on_a_gpu():
    """A real side stream gives the same, with many batches on their way."""
    side = SideStream(torch.device("cuda"))
    moved = [side.move(tensors_of(seed)) for seed in range(20)]
    for seed, batch in enumerate(moved):
        assert same(batch.tensors(), tensors_of(seed))


@CUDA
@pytest.mark.parametrize("name", LAYERS)
def test_a_gpu_is_not_waited_for(name, path, opened):
    """What is done in the thread that trains holds no operation that waits for the GPU, once constants lie there."""
    batches = opened(layer(path, LAYERS[name]), device="cuda")._batches
    moved = [batches.pin(loaded) for loaded in islice(batches.after(0), 12)]
    for loaded in moved[:6]:
        batches.finish(loaded)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for loaded in moved[6:]:
            batches.finish(loaded)
    finally:
        torch.cuda.set_sync_debug_mode("default")
