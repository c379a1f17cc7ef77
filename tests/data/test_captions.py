"""What labels are called."""

from pathlib import Path

import numpy as np
import pytest

from netspec.data.captions import caption, class_names
from netspec.schema.netspec_pb2 import LayerParameter

NAMES = {0: "cat", 2: "lemon"}


@pytest.mark.parametrize(
    ("label", "shares", "text"),
    [
        (0, False, "0 cat"),
        (1, False, "1"),
        (0.5, False, "0.5"),
        ([1, 0.5], False, "1 0.5"),
        (list(range(8)), False, "0 1 2 3 4 5 ..."),
        ([0.3, 0, 0.7], True, "0.70 2 lemon\n0.30 0 cat"),
        ([0, 1, 0], True, "1.00 1"),
    ],
)
def test_captions(label, shares, text):
    """A class has its name where it is known, shares show the two largest, others are numbers."""
    assert caption(np.array(label, np.float32), NAMES, shares) == text


@pytest.mark.parametrize("source", ["train_lmdb", "train_lmdb/", "train_lmdb/data.mdb"])
def test_names_beside_a_database(source, tmp_path):
    """labels.txt lies beside the database; of its lines the wnid and further names are left out."""
    (tmp_path / "train_lmdb").mkdir()
    (tmp_path / "train_lmdb" / "data.mdb").touch()
    (tmp_path / "labels.txt").write_text("n02124075 Egyptian cat\nn07749582 lemon, citrus\nplain\n")
    param = LayerParameter(type="Data")
    param.data_param.source = str(tmp_path / source)
    assert class_names(param, Path) == {0: "Egyptian cat", 1: "lemon", 2: "plain"}


def test_names_of_folders(tmp_path):
    """The classes of a folder are called like its folders, whole even where they look like a wnid."""
    for name in ("n07749582/1.png", "a/1.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    param = LayerParameter(type="ImageData")
    param.image_data_param.source = str(tmp_path)
    assert class_names(param, Path) == {0: "a", 1: "n07749582"}


def test_names_of_tiny_imagenet(tmp_path):
    """The classes of Tiny ImageNet's folders are called as words.txt says, in train and in val."""
    for name in ("train/n02/images/a.JPEG", "train/n01/images/b.JPEG", "val/images/c.JPEG", "val/images/d.JPEG"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "wnids.txt").write_text("n02\nn01\n")
    (tmp_path / "words.txt").write_text("n01\tlemon, citrus\nn03\tcat\n")
    (tmp_path / "val" / "val_annotations.txt").write_text("c.JPEG\tn01\t0\nd.JPEG\tn02\t0\n")
    for split in ("train", "val"):
        param = LayerParameter(type="ImageData")
        param.image_data_param.source = str(tmp_path / split)
        assert class_names(param, Path) == {0: "n02", 1: "lemon"}


def test_without_names(tmp_path):
    """Where nothing says what classes are called they have no names."""
    param = LayerParameter(type="Data")
    param.data_param.source = str(tmp_path / "train_lmdb")
    assert class_names(param, Path) == class_names(LayerParameter(type="DummyData"), Path) == {}
