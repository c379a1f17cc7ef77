"""The Data layer as a source of batches."""

import gc
import re
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from google.protobuf import text_format
from hypothesis import given, settings
from hypothesis import strategies as st

from netspec.data.database import Data
from netspec.data.datum import encoded_datum, raw_datum
from netspec.data.lmdb_store import write_lmdb
from netspec.data.mean import write_mean
from netspec.data.records import Records
from netspec.errors import DataError
from netspec.layers.base import LayerError
from netspec.layers.sources import SOURCE_TYPES, SourceContext
from netspec.schema.netspec_pb2 import TEST, TRAIN, LayerParameter

COUNT = 10
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA"))]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Ten images 1x6x6 whose pixels tell them and their places apart, labelled 0 to 9."""
    folder = tmp_path_factory.mktemp("feed") / "set"
    images = np.arange(36, dtype=np.uint8).reshape(1, 6, 6)
    data = [raw_datum(images + np.uint8(20 * i % 216), i) for i in range(COUNT)]
    write_lmdb(folder, ((b"%08d" % i, datum.SerializeToString()) for i, datum in enumerate(data)))
    return folder


def feed(path, text="", phase=TRAIN, batch=4, tops=("data", "label"), transform="", device="cpu", **options):
    param = LayerParameter(name="data", type="Data", top=tops)
    text_format.Parse(f'source: "{path}" batch_size: {batch} backend: LMDB {text}', param.data_param)
    text_format.Parse(transform, param.transform_param)
    return Data(param, SourceContext(phase, device=torch.device(device), **options))


def labels(source, batches):
    return torch.cat([source.next()[1] for _ in range(batches)]).int().tolist()


def test_registered_by_its_type():
    """A net finds the source of a Data layer by the type's name."""
    assert SOURCE_TYPES["Data"] is Data


@pytest.mark.parametrize("device", DEVICES)
def test_batches_in_caffes_order(path, device):
    """Batches follow the database and wrap round; images and labels are float32 of the stated shapes on the device."""
    source = feed(path, device=device)
    assert source.shapes == [(4, 1, 6, 6), (4,)]
    assert source.epoch_size == COUNT
    images, first = source.next()
    assert images.dtype == first.dtype == torch.float32
    assert images.device.type == first.device.type == device
    assert images[3].ravel().tolist() == list(range(60, 96))
    assert first.tolist() + labels(source, 3) == [i % COUNT for i in range(16)]
    assert source.position == 16
    assert source.wait_seconds > 0
    source.close()


def test_one_top_has_no_labels(path):
    """A layer with one top hands out images only."""
    source = feed(path, tops=("data",), transform="crop_size: 5 scale: 0.5 mean_value: 1")
    (images,) = source.next()
    assert [images.shape] == source.shapes == [(4, 1, 5, 5)]


@pytest.mark.parametrize("read", ["next", "once"])
@pytest.mark.parametrize("device", DEVICES)
def test_a_storage_that_hangs_is_named(read, device, path, monkeypatch, caplog):
    """Where no batch comes for long the log names the file that it should come from."""
    monkeypatch.setattr("netspec.data.prefetch._LOOK_SECONDS", 0.001)
    answers, fetch = threading.Event(), Records.fetch
    monkeypatch.setattr(Records, "fetch", lambda *args: answers.wait(10) and fetch(*args))
    caplog.set_level("WARNING", "netspec")
    caplog.handler.emit = lambda record, emit=caplog.handler.emit: emit(record) or answers.set()
    source = feed(path, device=device)
    _, label = next(source.once()) if read == "once" else source.next()
    source.close()
    assert label.tolist() == [0, 1, 2, 3]
    assert f"no batch has come from {path / 'data.mdb'} for 0.03 s; does the storage answer?" in caplog.messages


def test_a_mean_file_is_found_where_the_text_says(path, tmp_path):
    """Paths of the text go through `find`; the mean is taken off the images."""
    write_mean(tmp_path / "mean", np.full((1, 6, 6), 0.5, np.float32))
    found = {"set": path, "mean": tmp_path / "mean"}
    source = feed("set", transform='mean_file: "mean"', find=found.__getitem__)
    assert source.next()[0][0].ravel().tolist() == [i - 0.5 for i in range(36)]


def stream(source, batches):
    return [tuple(top.numpy().tobytes() for top in source.next()) for _ in range(batches)]


@settings(max_examples=25)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=4), st.integers(1, 7), st.integers(0, 2**40), st.booleans())
def test_taken_up_anywhere_the_stream_goes_on(path, places, batch, seed, shuffle):
    """From any position, jumped to in any order, come the batches of an uninterrupted run, to the bit."""
    options = {"text": f"shuffle: {str(shuffle).lower()} rand_skip: 9", "batch": batch, "seed": seed}
    options["transform"] = "crop_size: 4 mirror: true"
    whole = stream(feed(path, **options), 16)
    resumed = feed(path, **options)
    for place in places:
        resumed.position = place * batch
        assert stream(resumed, 3) == whole[place : place + 3]
        assert resumed.position == (place + 3) * batch


def test_shuffled_epochs_hold_every_record_once(path):
    """With shuffle each epoch is another permutation, also where batches span two."""
    drawn = labels(feed(path, "shuffle: true"), 15)
    epochs = [drawn[i : i + COUNT] for i in range(0, 60, COUNT)]
    assert all(sorted(epoch) == list(range(COUNT)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 4


def test_rand_skip_starts_within_its_range(path):
    """The first record is below rand_skip, each such record for some seed, and the order goes on from there."""
    starts = {labels(feed(path, "rand_skip: 3", seed=seed), 1)[0] for seed in range(30)}
    assert starts == {0, 1, 2}


def test_a_database_may_be_shorter_than_rand_skip(path):
    """As in Caffe what is skipped in a database goes round: every record is a start for some seed."""
    starts = {labels(feed(path, "rand_skip: 1000", seed=seed), 1)[0] for seed in range(200)}
    assert starts == set(range(COUNT))


def test_reseeding_equals_another_seed(path):
    """After `reseed` come the batches of a feed with that seed, from the same position."""
    other, source = feed(path, "shuffle: true", seed=2), feed(path, "shuffle: true", seed=1)
    expected = stream(other, 4)
    source.next()
    source.reseed(2)
    assert stream(source, 3) == expected[1:]


@pytest.mark.parametrize("device", DEVICES)
def test_once_hands_out_every_record_once(path, device):
    """`once` gives the set in order with a short last batch, wherever the stream stands, and leaves it there."""
    source = feed(path, "shuffle: true rand_skip: 5", TEST, device=device)
    first = labels(source, 1)
    batches = [tops[1].int().tolist() for tops in source.once()]
    assert batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert source.position == 4
    source.position = 0
    assert labels(source, 1) == first
    source.close()


LABEL_8 = "record 8 (key '00000008') has the label 8, but layer 'loss' knows 0 to 7"


def test_labels_are_checked_against_the_classes(path):
    """A label that is no class, and not the ignored one, is named with its record, layer and how many there are."""
    source = feed(path)
    source.check_labels(10, None, "loss")
    source.check_labels(9, 9, "loss")
    with pytest.raises(DataError) as caught:
        source.check_labels(8, None, "loss")
    assert str(caught.value) == f"{path}: {LABEL_8} (2 such records)"


def test_labels_of_a_set_that_is_not_kept(path):
    """Labels that are not all known in the beginning are checked as they are read."""
    source = feed(path, "cache: OFF prefetch: 1")
    source.check_labels(8, None, "loss")
    labels(source, 2)
    with pytest.raises(DataError, match=re.escape(LABEL_8)):
        labels(source, 1)
    source.close()


@pytest.mark.parametrize(
    ("change", "field", "cause"),
    [
        (lambda p: p.data_param.ClearField("batch_size"), ("data_param", "batch_size"), "missing or 0"),
        (lambda p: setattr(p.data_param, "batch_size", 0), ("data_param", "batch_size"), "missing or 0"),
        (lambda p: p.data_param.ClearField("source"), ("data_param", "source"), "source is missing"),
        (lambda p: setattr(p.data_param, "backend", 0), ("data_param", "backend"), "is LEVELDB, but .* is an LMDB"),
        (lambda p: p.ClearField("top"), ("top",), "1 or 2 tops"),
        (lambda p: p.top.append("more"), ("top",), "1 or 2 tops .* not 3"),
        (lambda p: setattr(p.transform_param, "crop_size", 7), ("transform_param", "crop_size"), "larger"),
        (
            lambda p: text_format.Parse("force_color: true force_gray: true", p.transform_param),
            ("transform_param", "force_gray"),
            "not both",
        ),
    ],
)
def test_refuses_a_wrong_message(change, field, cause, path):
    """A message that makes no sense is refused with the guilty field."""
    param = LayerParameter(name="data", type="Data", top=["data", "label"])
    text_format.Parse(f'source: "{path}" batch_size: 4 backend: LMDB', param.data_param)
    change(param)
    with pytest.raises(LayerError, match=cause) as caught:
        Data(param, SourceContext(TRAIN))
    assert caught.value.field == field


def test_an_lmdb_needs_no_backend(path):
    """A folder that is an LMDB is read as one where the text names no backend."""
    param = LayerParameter(top=["data"])
    text_format.Parse(f'source: "{path}" batch_size: 4', param.data_param)
    assert Data(param, SourceContext(TRAIN)).epoch_size == COUNT


@pytest.mark.parametrize(("force", "channels"), [("", 3), ("force_gray: true", 1), ("force_color: true", 3)])
def test_colour_is_forced(force, channels, pixels, encode, store_of):
    """force_gray and force_color decide the channels of encoded images."""
    source = feed(store_of([encoded_datum(encode(i), 0) for i in pixels(4, 3, 5, 5)]), transform=force)
    assert source.next()[0].shape == (4, channels, 5, 5)


def test_an_error_in_the_background_is_raised(pixels, encode, store_of):
    """A damaged record comes out of `next` as a DataError that names it, again and again, and never as a hang."""
    image = pixels(1, 3, 20, 20)[0]
    damaged = encoded_datum(encode(image, "JPEG")[:-200], 0)
    source = feed(store_of([encoded_datum(encode(image, "JPEG"), 0)] * 9 + [damaged]), "cache: OFF")
    assert labels(source, 2) == [0] * 8
    for _ in range(2):
        with pytest.raises(DataError, match=r"record 9 \(key '00000009'\): cannot decode JPEG"):
            source.next()


def test_images_of_several_sizes_are_made_alike(pixels, store_of):
    """Sizes that differ are cropped or resized to one, each within its bounds; else the record is named."""
    path = store_of([*pixels(3, 1, 6, 6), *pixels(5, 1, 8, 7)])
    for phase in (TRAIN, TEST):
        for transform in ("crop_size: 5 mirror: true", "resize: 5 mirror: true", "pad: 1 crop_size: 8 output_size: 5"):
            source = feed(path, phase=phase, transform=transform)
            assert [source.next()[0].shape for _ in range(2)] == [(4, 1, 5, 5)] * 2
    with pytest.raises(DataError, match=r"record 3 .* is 1x8x7, the first record's 1x6x6; only resize, or a crop_size"):
        feed(path).next()


def test_no_thread_outlives_its_feed(path):
    """Closing a feed, dropping it, or leaving `once` early ends its thread."""
    before = threading.active_count()
    closed, dropped = feed(path), feed(path)
    closed.next()
    dropped.next()
    closed.close()
    del dropped
    batches = closed.once()
    next(batches)
    batches.close()
    gc.collect()
    assert threading.active_count() == before


def test_a_relative_source_is_the_working_folders(path, monkeypatch):
    """Without `find` a relative path starts where the process runs, as in Caffe."""
    monkeypatch.chdir(path.parent)
    assert feed(Path("set")).epoch_size == COUNT
