"""Decoded sets: kept in memory or in a file, or decoded as they are used."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from netspec.data import cache, datum_store, records
from netspec.data.datum import Datum, encoded_datum, raw_datum
from netspec.data.image_list import ImageFiles, ListedImages
from netspec.data.list_file import read_listing
from netspec.data.lmdb_store import LmdbStore
from netspec.data.records import Records
from netspec.errors import DataError
from netspec.schema.netspec_pb2 import DataParameter

AUTO, ON, OFF = DataParameter.AUTO, DataParameter.ON, DataParameter.OFF
COUNT = 600  # more than two parts


@pytest.fixture
def small_memory(monkeypatch):
    """Nothing is small enough to be kept in memory."""
    monkeypatch.setattr(records, "MEMORY_LIMIT", 0)


@pytest.fixture
def decoded(monkeypatch):
    """Count the decoded records."""
    calls, decode = [], datum_store.decode
    monkeypatch.setattr(datum_store, "decode", lambda *args: calls.append(args) or decode(*args))
    return calls


@pytest.fixture
def images(pixels):
    return pixels(COUNT, 3, 4, 5)


def opened(path, mode=AUTO, colour=None):
    return Records(LmdbStore(path), colour, mode)


@pytest.mark.parametrize("mode", [AUTO, ON, OFF])
@pytest.mark.parametrize("limit", [0, records.MEMORY_LIMIT])
def test_every_way_gives_the_same_records(mode, limit, images, store_of, monkeypatch):
    """Memory, a file or nothing: records come in any order, with repetitions, and so do their labels."""
    monkeypatch.setattr(records, "MEMORY_LIMIT", limit)
    made = opened(store_of(images), mode)
    chosen = np.array([599, 0, 3, 3, 257])
    fetched, labels = made.fetch(chosen)
    np.testing.assert_array_equal(fetched, images[chosen])
    np.testing.assert_array_equal(labels, chosen)
    assert (len(made), made.shape) == (COUNT, (3, 4, 5))


@pytest.mark.parametrize(("mode", "passes"), [(AUTO, 1), (OFF, 3)])
def test_kept_records_are_decoded_once(mode, passes, images, store_of, decoded):
    """Three readings decode each record once, or three times where nothing is kept; the shape takes one more."""
    made = opened(store_of(images), mode)
    for _ in range(3):
        made.fetch(np.arange(COUNT))
    assert len(decoded) == passes * COUNT + 1


def test_a_cache_file_serves_the_next_run(images, store_of, small_memory, decoded):
    """A second opening reads the file that the first one wrote."""
    path = store_of(images)
    opened(path).fetch(np.arange(3))
    decoded.clear()
    fetched, labels = opened(path).fetch(np.array([5, 2]))
    assert len(decoded) == 1
    np.testing.assert_array_equal(fetched, images[[5, 2]])
    assert labels.tolist() == [5, 2]


def test_a_changed_store_is_decoded_anew(images, store_of, small_memory, cache_folder, decoded):
    """The file of a store that changed since is replaced."""
    path = store_of(images)
    opened(path).fetch(np.arange(3))
    os.utime(path / "data.mdb", (1, 1))
    decoded.clear()
    opened(path).fetch(np.arange(3))
    assert len(decoded) == COUNT + 1
    assert len(list(cache_folder.iterdir())) == 1


def test_what_a_killed_run_left_makes_room(images, store_of, small_memory, cache_folder):
    """Before a set is written, what a run left that was killed as it wrote one is removed."""
    cache_folder.mkdir()
    (cache_folder / ".another.images.17.tmp").write_bytes(b"part")
    opened(store_of(images)).fetch(np.arange(3))
    assert [file.suffix for file in cache_folder.iterdir()] == [".images"]


def test_two_sizes_of_one_set_are_kept_beside_each_other(images, picture, tmp_path, small_memory, cache_folder):
    """Runs that resize one list differently do not decode it anew in turn."""
    (tmp_path / "list").write_text(f"{picture(images[0], 'a.png')} 0\n")

    def sized(*size):
        return Records(ListedImages(read_listing(tmp_path / "list", 1), ImageFiles("", Path), size), True)

    for size in ((3, 3), (6, 5)):
        sized(*size).fetch(np.arange(1))
    assert len(list(cache_folder.iterdir())) == 2
    assert sized(3, 3).fetch(np.arange(1))[0].shape == (1, 3, 3, 3)


def header_of_another(data):
    return b'{"key": "other"}'.ljust(cache._HEADER_BYTES) + data[cache._HEADER_BYTES :]


def header_of_an_older_form(data):
    return data.replace(b'"labels"', b'"older" ')


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data + b"x",
        lambda data: b"",
        lambda data: b"[]",
        header_of_another,
        header_of_an_older_form,
    ],
)
def test_a_damaged_cache_file_is_made_anew(damage, images, store_of, small_memory, cache_folder):
    """A file that is cut, too long, empty or another set's is not used."""
    path = store_of(images)
    opened(path).fetch(np.arange(3))
    (file,) = cache_folder.iterdir()
    file.write_bytes(damage(file.read_bytes()))
    fetched, _ = opened(path).fetch(np.arange(3))
    np.testing.assert_array_equal(fetched, images[:3])


def test_an_interrupted_build_leaves_no_file(images, store_of, small_memory, cache_folder, monkeypatch):
    """A build that does not end leaves nothing, and the next one succeeds."""
    made, part = opened(store_of(images)), Records._part

    def interrupted(self, start, whole=None):
        if start:
            raise KeyboardInterrupt
        return part(self, start, whole)

    monkeypatch.setattr(Records, "_part", interrupted)
    with pytest.raises(KeyboardInterrupt):
        made.fetch(np.arange(3))
    assert list(cache_folder.iterdir()) == []
    monkeypatch.setattr(Records, "_part", part)
    np.testing.assert_array_equal(made.fetch(np.arange(3))[0], images[:3])


def no_room(monkeypatch, file_limit):
    monkeypatch.setattr(records, "has_room", lambda path, size: False)
    return file_limit(1 << 30)


@pytest.mark.parametrize("full", [no_room, lambda monkeypatch, file_limit: file_limit(20000)])
def test_a_full_disk_costs_time_but_no_run(full, images, store_of, small_memory, monkeypatch, file_limit, caplog):
    """Where the file does not fit AUTO decodes as it goes and says so; ON is refused with the sizes and a way out."""
    path = store_of(images)
    made, insisting = opened(path), opened(path, ON)
    with full(monkeypatch, file_limit):
        np.testing.assert_array_equal(made.fetch(np.arange(3))[0], images[:3])
        with pytest.raises(DataError, match=r"36000 bytes of decoded images cannot be kept in .*NETSPEC_CACHE"):
            insisting.fetch(np.arange(3))
    assert "they are decoded as they are used" in caplog.text


def test_room_is_left_on_the_disk(tmp_path, monkeypatch):
    """A cache file leaves half of the free space and a gibibyte."""
    gib = 1 << 30
    for free, size, fits in [(10 * gib, 5 * gib, True), (10 * gib, 6 * gib, False), (gib + 5, 6, False)]:
        monkeypatch.setattr(shutil, "disk_usage", lambda folder, free=free: type("Usage", (), {"free": free}))
        assert cache.has_room(tmp_path / "none" / "file", size) is fits


@pytest.mark.parametrize("mode", [AUTO, OFF])
def test_images_of_several_sizes_come_as_a_list(mode, pixels, store_of):
    """A batch with several sizes is a list, one of a single size an array."""
    images = [*pixels(3, 3, 4, 5), *pixels(2, 3, 6, 5)]
    made = opened(store_of(images), mode)
    fetched, labels = made.fetch(np.array([2, 3]))
    assert [image.shape for image in fetched] == [(3, 4, 5), (3, 6, 5)]
    assert labels.tolist() == [2, 3]
    np.testing.assert_array_equal(made.fetch(np.array([3, 4]))[0], np.stack(images[3:]))


def test_float_records_stay_float(store_of):
    """Datums with float_data give float32 batches."""
    data = [Datum(channels=1, height=1, width=2, float_data=[i + 0.5, -i]) for i in range(3)]
    fetched, _ = opened(store_of(data)).fetch(np.arange(3))
    assert fetched.dtype == np.float32
    assert fetched.ravel().tolist() == [0.5, 0, 1.5, -1, 2.5, -2]


def test_grey_files_in_a_colour_set_become_colour(pixels, encode, store_of):
    """Where the first file has colour a grey one gets three equal channels."""
    colour, grey = pixels(1, 3, 4, 5)[0], pixels(1, 1, 4, 5)[0]
    made = opened(store_of([encoded_datum(encode(colour), 0), encoded_datum(encode(grey), 1)]))
    np.testing.assert_array_equal(made.fetch(np.arange(2))[0], np.stack([colour, grey.repeat(3, axis=0)]))


@pytest.mark.parametrize(
    ("second", "cause"),
    [
        (lambda image, encode: encoded_datum(encode(image.repeat(3, axis=0)), 0), "has 3 channels of uint8, the first"),
        (lambda image, encode: Datum(channels=1, height=1, width=1, float_data=[1]), "has 1 channels of float32"),
        (lambda image, encode: encoded_datum(encode(image, "JPEG")[:-100], 0), "cannot decode JPEG"),
        (lambda image, encode: Datum(channels=1, height=9, width=9, data=b"x"), "data has 1 bytes, 1x9x9 needs 81"),
    ],
)
@pytest.mark.parametrize("mode", [AUTO, OFF])
def test_names_the_record_that_does_not_fit(second, cause, mode, pixels, encode, store_of):
    """A record that is damaged or of another kind than the first is named by path, index and key."""
    image = pixels(1, 1, 20, 20)[0]
    path = store_of([raw_datum(image, 0), second(image, encode)])
    with pytest.raises(DataError, match=cause) as caught:
        opened(path, mode).fetch(np.arange(2))
    assert str(caught.value).startswith(f"{path}: record 1 (key '00000001')")
