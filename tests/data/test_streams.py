"""What is true of the batches of every data layer type."""

import gc
import threading

import numpy as np
import pytest
import torch

from netspec.layers.sources import SOURCE_TYPES
from netspec.schema.netspec_pb2 import TEST

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA"))]
TOPS = 'top: "data" top: "label"'
BATCH = 3


@pytest.fixture
def layers(tmp_path, files_of_every_kind):
    """The text of a layer of every type, with all that is drawn at random."""
    size, drawn = f"batch_size: {BATCH}", "shuffle: true rand_skip: 4"
    crop = "transform_param { crop_size: 6 mirror: true mean_value: 9 scale: 0.5 }"
    noise = 'data_filler { type: "gaussian" } data_filler { type: "uniform" }'
    return {
        "Data": f'data_param {{ source: "{tmp_path}/set" {size} {drawn} }} {crop}',
        "DummyData": f"dummy_data_param {{ shape {{ dim: [{BATCH}, 4] }} {noise} }}",
        "HDF5Data": f'hdf5_data_param {{ source: "{tmp_path}/files" {size} shuffle: true }}',
        "ImageData": f'image_data_param {{ source: "{tmp_path}/images" {size} {drawn} }} {crop}',
        "MemoryData": f"memory_data_param {{ {size} channels: 3 height: 6 width: 6 }} {crop}",
        "WindowData": f'window_data_param {{ source: "{tmp_path}/windows" {size} context_pad: 1 }} {crop}',
    }


TYPES = ["Data", "DummyData", "HDF5Data", "ImageData", "MemoryData", "WindowData"]


def test_every_type_is_here(layers):
    """No data layer type of the package is left out of these tests."""
    own = {name for name, made in SOURCE_TYPES.items() if made.__module__.startswith("netspec.")}
    assert own == set(layers) == set(TYPES)


@pytest.fixture(params=TYPES)
def open_type(request, layers, opened, pixels):
    """Open a layer of one type after the other."""

    def open_type(**options):
        source = opened(f'name: "data" type: "{request.param}" {TOPS} {layers[request.param]}', **options)
        if request.param == "MemoryData":
            source.set(pixels(9, 3, 8, 9), np.arange(9))
        return source

    return open_type


def stream(source, batches):
    return [tuple(top.cpu().numpy().tobytes() for top in source.next()) for _ in range(batches)]


@pytest.mark.parametrize("device", DEVICES)
def test_shapes_and_device(device, open_type):
    """Batches are float32 of the stated shapes on the device; the position counts their records."""
    source = open_type(device=device)
    for _ in range(2):
        batch = source.next()
        assert [tuple(top.shape) for top in batch] == source.shapes
        assert {(top.dtype, top.device.type) for top in batch} == {(torch.float32, device)}
    assert source.position == 2 * BATCH
    assert source.wait_seconds > 0


@pytest.mark.parametrize("device", DEVICES)
def test_taken_up_anywhere_the_stream_goes_on(device, open_type):
    """From any position come the batches of an uninterrupted run, to the bit, and with another seed other ones."""
    whole = stream(open_type(seed=5, device=device), 8)
    resumed = open_type(seed=5, device=device)
    for place in (4, 0, 5):
        resumed.position = place * BATCH
        assert stream(resumed, 3) == whole[place : place + 3]
    assert stream(open_type(seed=6, device=device), 8) != whole


def test_reseeding_equals_another_seed(open_type):
    """After `reseed` come the batches of a source with that seed, from the same position."""
    expected, source = stream(open_type(seed=2), 4), open_type(seed=1)
    source.next()
    source.reseed(2)
    assert stream(source, 3) == expected[1:]


def test_once_hands_out_every_record_once(open_type):
    """A pass has as many records as the set, the same each time, and leaves the position."""
    source = open_type(phase=TEST)
    source.next()
    passes = [list(source.once()) for _ in range(2)]
    for batches in passes:
        assert sum(len(tops[0]) for tops in batches) == source.epoch_size
        assert all(len(tops[0]) == BATCH for tops in batches[:-1])
    assert all(torch.equal(a, b) for one, other in zip(*passes, strict=True) for a, b in zip(one, other, strict=True))
    assert source.position == BATCH


def test_no_thread_outlives_its_source(open_type):
    """Closing a source, dropping it, or leaving `once` early ends its thread."""
    before = threading.active_count()
    source = open_type()
    source.next()
    batches = source.once()
    next(batches)
    batches.close()
    source.close()
    gc.collect()
    assert threading.active_count() == before
