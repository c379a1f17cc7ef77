"""A folder of classes as a set."""

import io
import os
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from netspec.data import folder_set
from netspec.data.datum import decode
from netspec.data.lmdb_store import LmdbStore
from netspec.data.mean import read_mean
from netspec.errors import DataError

COUNTS = {"cat": 10, "ant": 20, "dog": 5}


@pytest.fixture
def folder(tmp_path, pixels, encode):
    """Three classes of JPEGs of 6x8 pixels, one of them grey."""
    for name, count in COUNTS.items():
        (tmp_path / "images" / name).mkdir(parents=True)
        for index, image in enumerate(pixels(count, 3, 6, 8)):
            (tmp_path / "images" / name / f"{index}.jpg").write_bytes(encode(image, "JPEG"))
    (tmp_path / "images" / "ant" / "0.jpg").write_bytes(encode(pixels(1, 1, 6, 8)[0], "JPEG"))
    return tmp_path / "images"


def read(path):
    store = LmdbStore(path)
    return store.keys, [store.read(index) for index in range(len(store))]


def test_a_part_of_each_class_becomes_val(folder, tmp_path):
    """Each class gives its part; together the splits have every file once; labels follow the folders' names."""
    line = folder_set.make(tmp_path / "out", folder, val_fraction=0.2)
    assert line.endswith("3 classes, 28 train and 7 val images")
    assert (tmp_path / "out" / "labels.txt").read_text() == "ant\ncat\ndog\n"
    train_keys, train = read(tmp_path / "out" / "train_lmdb")
    val_keys, val = read(tmp_path / "out" / "val_lmdb")
    assert Counter(datum.label for datum in val) == {0: 4, 1: 2, 2: 1}
    names = sorted(key[9:].decode() for key in train_keys + val_keys)
    assert names == sorted(f"{name}/{index}.jpg" for name, count in COUNTS.items() for index in range(count))
    for key, datum in zip(train_keys, train, strict=True):
        assert datum.data == (folder / key[9:].decode()).read_bytes() or key.endswith(b"ant/0.jpg")
        assert datum.label == ["ant", "cat", "dog"].index(key[9:12].decode())
    assert [datum.label for datum in train] != sorted(datum.label for datum in train)
    mean = np.mean([decode(datum) for datum in train], axis=0)
    np.testing.assert_allclose(read_mean(tmp_path / "out" / "mean.binaryproto"), mean, rtol=1e-6)


def test_the_seed_decides(folder, tmp_path):
    """The same seed draws the same images in the same order, another one others."""
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        folder_set.make(tmp_path / name, folder, seed=seed)
    for split in ("train_lmdb", "val_lmdb"):
        keys = [read(tmp_path / name / split)[0] for name in "abc"]
        assert keys[0] == keys[1] != keys[2]


def test_folders_of_the_splits_are_kept(folder, tmp_path):
    """Where there are train and val, nothing is drawn; val's classes must have train's numbers."""
    (tmp_path / "two").mkdir()
    folder.rename(tmp_path / "two" / "train")
    for name in ("ant", "cat"):
        (tmp_path / "two" / "val" / name).mkdir(parents=True)
        source = tmp_path / "two" / "train" / name / "1.jpg"
        (tmp_path / "two" / "val" / name / "x.jpg").write_bytes(source.read_bytes())
    assert "35 train and 2 val images" in folder_set.make(tmp_path / "out", tmp_path / "two")
    keys, data = read(tmp_path / "out" / "val_lmdb")
    assert [(key[9:], datum.label) for key, datum in zip(keys, data, strict=True)] == [
        (b"ant/x.jpg", 0), (b"cat/x.jpg", 1),
    ]  # fmt: skip
    (tmp_path / "two" / "val" / "ant").rename(tmp_path / "two" / "val" / "bee")
    with pytest.raises(DataError, match="val/bee: its number among the folders, 0, is of another class in train"):
        folder_set.make(tmp_path / "other", tmp_path / "two")


def test_a_class_called_images(folder, tmp_path):
    """A class may have the name of Tiny ImageNet's folder of val images: val's numbers are held against train's."""
    (folder / "dog").rename(folder / "images")
    for name in ("cat", "images"):
        (tmp_path / "two" / "val" / name).mkdir(parents=True)
        (tmp_path / "two" / "val" / name / "x.jpg").write_bytes((folder / name / "1.jpg").read_bytes())
    folder.rename(tmp_path / "two" / "train")
    with pytest.raises(DataError, match="val/cat: its number among the folders, 0, is of another class in train"):
        folder_set.make(tmp_path / "out", tmp_path / "two")


def test_folders_one_level_too_high_are_refused(folder, tmp_path):
    """Parts of a set that are not called train and val are not taken for two classes."""
    (tmp_path / "two").mkdir()
    folder.rename(tmp_path / "two" / "train")
    (tmp_path / "two" / "valid").mkdir()
    with pytest.raises(DataError, match=r"two holds the parts of a set \(train, valid\), not its classes"):
        folder_set.make(tmp_path / "out", tmp_path / "two")


def test_a_class_whose_name_is_no_utf_8(folder, tmp_path):
    """The name of a folder comes into labels.txt and the keys byte for byte."""
    (folder / "dog").rename(folder / os.fsdecode(b"caf\xe9"))
    folder_set.make(tmp_path / "out", folder)
    assert (tmp_path / "out" / "labels.txt").read_bytes() == b"ant\ncaf\xe9\ncat\n"
    assert any(b"_caf\xe9/" in key for key in read(tmp_path / "out" / "train_lmdb")[0])


def test_tiny_imagenets_layout(folder, tmp_path):
    """A val folder whose classes stand in a text is read as such."""
    (tmp_path / "set" / "val" / "images").mkdir(parents=True)
    folder.rename(tmp_path / "set" / "train")
    image = (tmp_path / "set" / "train" / "cat" / "1.jpg").read_bytes()
    (tmp_path / "set" / "val" / "images" / "val_0.jpg").write_bytes(image)
    (tmp_path / "set" / "val" / "val_annotations.txt").write_text("val_0.jpg\tcat\t0\t0\t1\t1\n")
    folder_set.make(tmp_path / "out", tmp_path / "set")
    assert [datum.label for datum in read(tmp_path / "out" / "val_lmdb")[1]] == [1]


@pytest.mark.parametrize(("options", "shape"), [({"size": (4, 3)}, (3, 4, 3)), ({"colour": False}, (1, 6, 8))])
def test_resized_or_grey(options, shape, folder, tmp_path):
    """What is changed is stored as PNG; the grey JPEG stays as it is where grey is asked for."""
    folder_set.make(tmp_path / "out", folder, val_fraction=0.5, **options)
    keys, data = read(tmp_path / "out" / "train_lmdb")
    more = read(tmp_path / "out" / "val_lmdb")
    for key, datum in zip(keys + more[0], data + more[1], strict=True):
        assert decode(datum).shape == shape
        stays = key.endswith(b"ant/0.jpg") and "colour" in options
        assert Image.open(io.BytesIO(datum.data)).format == ("JPEG" if stays else "PNG")


@pytest.mark.parametrize("size", [(0, 0), (-1, -1), (6, 0), (6, 99999)])
def test_a_size_of_no_image_is_refused(size, folder, tmp_path):
    """A size that no image can have is refused before anything is written."""
    with pytest.raises(DataError, match=f"1 to 16384 pixels a side, not to {size[0]}x{size[1]}"):
        folder_set.make(tmp_path / "out", folder, size=size)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("fraction", "cause"),
    [
        (0.0, "val_fraction must lie between 0 and 1, not 0"),
        (1.0, "val_fraction must lie between 0 and 1, not 1"),
        (0.01, "0.01 of each class leaves 35 train and 0 val images"),
        (0.99, "0.99 of each class leaves 0 train and 35 val images"),
    ],
)
def test_a_split_without_images_is_refused(fraction, cause, folder, tmp_path):
    """A part that leaves one split empty is refused, where it depends on the classes with both counts."""
    with pytest.raises(DataError, match=cause):
        folder_set.make(tmp_path / "out", folder, val_fraction=fraction)


def test_damaged_files_up_to_a_limit(folder, tmp_path, caplog):
    """Files that are no images are left out of both splits, as many as are allowed, named and counted."""
    for name in ("ant/3", "cat/4", "dog/1"):
        (folder / f"{name}.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"jpg: cannot decode"):
        folder_set.make(tmp_path / "out", folder, val_fraction=0.2, skip_damaged=2)
    assert list((tmp_path / "out").iterdir()) == []
    caplog.clear()
    line = folder_set.make(tmp_path / "out", folder, val_fraction=0.2, skip_damaged=3)
    train, val = (read(tmp_path / "out" / f"{split}_lmdb") for split in ("train", "val"))
    assert line.endswith(f"3 classes, {len(train[0])} train and {len(val[0])} val images, 3 left out")
    names = {key[9:].decode() for key in train[0] + val[0]}
    assert len(names) == len(train[0] + val[0]) == 32
    assert not names & {"ant/3.jpg", "cat/4.jpg", "dog/1.jpg"}
    assert len([message for message in caplog.messages if message.startswith("left out: ")]) == 3


def test_a_split_of_damaged_files_is_refused(folder, tmp_path):
    """Where no file of a split is an image there is no set, whatever may be left out."""
    (tmp_path / "two" / "val" / "ant").mkdir(parents=True)
    folder.rename(tmp_path / "two" / "train")
    (tmp_path / "two" / "val" / "ant" / "x.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match="two: val: none of the 1 files is an image"):
        folder_set.make(tmp_path / "out", tmp_path / "two", skip_damaged=9)


def test_images_of_several_sizes_are_refused(folder, tmp_path, pixels, encode):
    """There is no mean of several sizes: the file is named, and what to do."""
    (folder / "dog" / "3.jpg").write_bytes(encode(pixels(1, 3, 7, 8)[0], "JPEG"))
    with pytest.raises(DataError, match=r"\(3, 7, 8\) .*resizing makes them alike"):
        folder_set.make(tmp_path / "out", folder)
    assert "32 train" in folder_set.make(tmp_path / "out", folder, size=(6, 6))
