"""Damaged records, files that change, and what is said of them."""

import io
import logging
import os
import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from damage import bombs, main
from PIL import Image

from netspec.data.damage import Watch, sound_records
from netspec.data.datum import Datum, encoded_datum, raw_datum
from netspec.data.lmdb_store import LmdbStore
from netspec.errors import DataError
from netspec.layers.base import LayerError
from netspec.schema.netspec_pb2 import TEST

COUNT, DAMAGED = 600, (0, 1, 299, 599)  # more than two parts


@pytest.fixture
def path(pixels, store_of):
    """Images 3x4x5 labelled with their places, of which some hold fewer pixels than they say."""
    images = pixels(COUNT, 3, 4, 5)
    data = [raw_datum(image, index) for index, image in enumerate(images)]
    for index in DAMAGED:
        data[index].data = data[index].data[1:]
    return store_of(data)


def data_layer(path, fields=""):
    return f'type: "Data" top: "x" top: "y" data_param {{ source: "{path}" batch_size: 7 {fields} }}'


def labels(batches):
    return [int(label) for tops in batches for label in tops[1].tolist()]


@pytest.mark.parametrize("cache", ["AUTO", "OFF"])
def test_damaged_records_are_left_out_and_named(cache, path, opened, caplog):
    """The set has the sound records only, in their order, and the log names each other one with its index and key."""
    caplog.set_level(logging.INFO, "netspec")
    source = opened(data_layer(path, f"skip_damaged: 4 cache: {cache}"), TEST)
    assert source.epoch_size == COUNT - 4
    sound = [index for index in range(COUNT) if index not in DAMAGED]
    assert labels(source.once()) == sound
    assert labels(source.next() for _ in range(3)) == sound[:21]
    assert [message for message in caplog.messages if "left out" in message] == [
        f"{path}: record {i} (key '{i:08}'): data has 59 bytes, 3x4x5 needs 60; the record is left out (skip_damaged)"
        for i in DAMAGED
    ]


def test_one_more_than_may_be_left_out_is_an_error(path, opened):
    """The record after the last that may be left out is named, with the limit."""
    for skip, record in ((3, 599), (2, 299)):
        with pytest.raises(DataError, match=rf"record {record} .*; skip_damaged: {skip} allows no more"):
            opened(data_layer(path, f"skip_damaged: {skip}"))


@pytest.mark.parametrize("cache", ["AUTO", "OFF"])
def test_nothing_is_left_out_unasked(cache, path, opened, store_of, pixels):
    """Without skip_damaged the first damaged record is an error that names it."""
    with pytest.raises(DataError, match=r"record 0 \(key '00000000'\): data has 59 bytes"):
        opened(data_layer(path))
    later = [raw_datum(image, 0) for image in pixels(5, 3, 4, 5)]
    later[3].data = b""
    source = opened(data_layer(store_of(later, "later"), f"cache: {cache}"))
    with pytest.raises(DataError, match=r"record 3 \(key '00000003'\): data has 0 bytes"):
        source.next()


def test_what_is_damaged_is_remembered(path, opened, monkeypatch, cache_folder, caplog):
    """A store that was looked through is not again, unless it has changed; the limit and the log are as before."""
    opened(data_layer(path, "skip_damaged: 4"))
    looked, image = [], LmdbStore.image
    monkeypatch.setattr(LmdbStore, "image", lambda *args: looked.append(args) or image(*args))
    caplog.clear()
    assert opened(data_layer(path, "skip_damaged: 5")).epoch_size == COUNT - 4
    assert len(looked) < 10
    assert len([message for message in caplog.messages if "left out" in message]) == 4
    with pytest.raises(DataError, match=r"record 599 .*; skip_damaged: 3 allows no more"):
        opened(data_layer(path, "skip_damaged: 3"))
    os.utime(path / "data.mdb", (1, 1))
    opened(data_layer(path, "skip_damaged: 4"))
    assert len(looked) >= COUNT
    (file,) = cache_folder.glob("*.damage")
    for nonsense in (b"", b"[]", b"{}"):
        file.write_bytes(nonsense)
        assert opened(data_layer(path, "skip_damaged: 4")).epoch_size == COUNT - 4


def test_a_set_without_a_sound_record_is_refused(opened, store_of):
    """Where all may be left out and all are damaged, nothing is left to train on."""
    with pytest.raises(DataError, match="none of the 2 records can be read"):
        opened(data_layer(store_of([Datum(channels=1, height=1, width=1)] * 2), "skip_damaged: 9"))


def test_messages_keep_the_places_of_the_whole_store(path):
    """A record is named by its place in the store, and another selection is another set."""
    store = LmdbStore(path)
    sound = sound_records(store, None, 4)
    assert sound.where(0) == store.where(2)
    assert sound.image(0, None)[1] == 2
    assert sound.identity.startswith(store.identity)
    assert sound.identity != store.identity
    assert sound.labels is None


def test_a_sound_store_is_itself(pixels, store_of):
    """Looking for damage changes nothing where there is none."""
    store = LmdbStore(store_of(pixels(3, 1, 2, 2)))
    assert sound_records(store, None, 5) is store


def test_colour_is_that_of_the_first_sound_record(pixels, encode, store_of, opened):
    """An image with an alpha channel is no damage where the first sound image makes all coloured."""
    with_alpha = io.BytesIO()
    Image.fromarray(pixels(1, 4, 5, 4)[0]).save(with_alpha, "PNG")
    files = b"no image", encode(pixels(1, 3, 4, 5)[0]), with_alpha.getvalue()
    source = opened(data_layer(store_of([encoded_datum(file, 0) for file in files]), "skip_damaged: 1"))
    assert source.epoch_size == 2


def test_damaged_image_files_are_left_out(tmp_path, picture, pixels, opened, caplog):
    """A file that is missing, cut or a bomb is left out with its line, and its label with it."""
    names = [picture(image, f"{index}.png") for index, image in enumerate(pixels(5, 3, 6, 6))]
    (tmp_path / "1.png").unlink()
    os.truncate(names[3], 80)
    (tmp_path / "4.png").write_bytes(bombs()["PNG"])
    (tmp_path / "list").write_text("".join(f"{name} {index}\n" for index, name in enumerate(names)))
    text = f'type: "ImageData" top: "x" top: "y" image_data_param {{ source: "{tmp_path}/list" skip_damaged: 3 }}'
    source = opened(text, TEST)
    source.check_labels(3, None, "loss")  # the labels 3 and 4 are of files that are left out
    assert labels(source.once()) == [0, 2]
    for line, name in ((2, names[1]), (4, names[3]), (5, names[4])):
        assert f"{tmp_path}/list: line {line} ({name})" in caplog.text


def test_a_list_whose_images_are_gone_is_refused(tmp_path, picture, pixels, opened):
    """Before anything is read the first file that is missing is named, and how many there are."""
    names = [picture(image, f"{index}.png") for index, image in enumerate(pixels(5, 3, 6, 6))]
    (tmp_path / "list").write_text("".join(f"{name} 0\n" for name in names))
    for name in names[2:4]:
        Path(name).unlink()
    with pytest.raises(DataError) as caught:
        opened(f'type: "ImageData" top: "x" top: "y" image_data_param {{ source: "{tmp_path}/list" }}')
    assert f"{tmp_path}/list: line 3 ({names[2]}): " in str(caught.value)
    assert str(caught.value).endswith("(2 of 5 files are missing)")


def test_rand_skip_beyond_a_list_is_refused(tmp_path, picture, pixels, opened):
    """As in Caffe a list must hold what is skipped; Caffe stops only where the number drawn is beyond it."""
    names = [picture(image, f"{index}.png") for index, image in enumerate(pixels(3, 3, 6, 6))]
    (tmp_path / "list").write_text("".join(f"{name} 0\n" for name in names))
    text = f'type: "ImageData" top: "x" top: "y" image_data_param {{ source: "{tmp_path}/list" rand_skip: %d }}'
    assert opened(text % 3).epoch_size == 3
    with pytest.raises(LayerError, match="rand_skip 4 is more than the 3 images") as caught:
        opened(text % 4)
    assert caught.value.field == ("image_data_param", "rand_skip")


@pytest.mark.parametrize("error", [RuntimeError("broken"), MemoryError(), KeyError("x"), SystemExit(3)])
@pytest.mark.parametrize("cache", ["AUTO", "OFF"])
def test_whatever_happens_to_the_decoder_comes_out(error, cache, pixels, store_of, opened, monkeypatch):
    """An error of any kind in the background is raised where the batch is asked for, with the record where it is one
    of the program's: no run hangs, and none goes on without it."""
    image = LmdbStore.image

    def failing(self, index, colour=None):
        if index == 9:
            raise error
        return image(self, index, colour)

    monkeypatch.setattr(LmdbStore, "image", failing)
    source = opened(data_layer(store_of(pixels(12, 1, 2, 2)), f"cache: {cache}"))
    expected = DataError if isinstance(error, Exception) else type(error)
    for _ in range(2):
        with pytest.raises(expected) as caught:
            for _ in range(2):
                source.next()
    if expected is DataError:
        assert f"record 9 (key '00000009'): {type(error).__name__}" in str(caught.value)


@pytest.mark.parametrize("cache", ["AUTO", "OFF"])
@pytest.mark.parametrize("change", ["touched", "cut", "replaced", "removed"])
def test_a_store_that_changes_under_a_run_is_noticed(change, cache, pixels, store_of, opened):
    """A database that is written, cut, replaced or removed while a run reads it is named, and nothing more is read."""
    path = store_of(pixels(100, 3, 40, 40))
    source = opened(data_layer(path, f"prefetch: 1 cache: {cache}"))
    source.next()
    file = path / "data.mdb"
    if change == "touched":
        os.utime(file, (1, 1))
    elif change == "cut":
        os.truncate(file, 4096)
    elif change == "replaced":
        shutil.copy(file, path / "other")
        (path / "other").replace(file)
    else:
        file.unlink()
    said = "is no longer" if change == "removed" else "has changed since it was opened"
    with pytest.raises(DataError, match=f"{re.escape(str(file))} .*{said}"):
        for _ in range(20):
            source.next()


def test_every_hdf5_file_is_watched(tmp_path, opened):
    """A file of the list that changes is named when its turn comes."""
    for name in ("a", "b"):
        with h5py.File(tmp_path / name, "w") as file:
            file["x"] = np.zeros((8, 2))
    (tmp_path / "files").write_text(f"{tmp_path}/a\n{tmp_path}/b\n")
    source = opened(f'type: "HDF5Data" top: "x" hdf5_data_param {{ source: "{tmp_path}/files" batch_size: 2 }}')
    source.next()
    os.utime(tmp_path / "b", (1, 1))
    with pytest.raises(DataError, match=f"{tmp_path}/b has changed"):
        for _ in range(20):
            source.next()


def test_a_folder_of_images_may_get_other_files(tmp_path, picture, pixels, opened):
    """What is put beside the classes of a folder while a run reads it does not stop the run."""
    (tmp_path / "set" / "a").mkdir(parents=True)
    picture(pixels(1, 3, 6, 6)[0], "set/a/0.png")
    source = opened(f'type: "ImageData" top: "x" top: "y" image_data_param {{ source: "{tmp_path}/set" }}')
    source.next()
    (tmp_path / "set" / "notes").write_text("seen")
    assert [source.next()[1].tolist() for _ in range(9)] == [[0]] * 9


def test_a_failure_looks_at_every_file(tmp_path):
    """Where reading fails and one of the files has changed, that is the cause that is told."""
    files = [tmp_path / str(index) for index in range(5)]
    for file in files:
        file.write_text("x")

    def failing():
        yield 1
        raise DataError("nonsense")

    items = Watch(files).over(failing())
    assert next(items) == 1
    files[4].write_text("other")
    with pytest.raises(DataError, match=f"{files[4]} has changed"):
        next(items)


def test_mutated_files_by_the_dozen(capfd):
    """Torn images, bombs and cut stores are skipped or refused by name, and no process dies."""
    assert main(["--images", "60", "--stores", "6"]) == 0
    said = capfd.readouterr().out
    assert "image files: as it should be" in said
    assert "LMDB cut: refused: 6" in said
    assert "HDF5 cut: refused: 6" in said
