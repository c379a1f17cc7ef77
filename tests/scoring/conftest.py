"""Nets and images that the tests of scoring share."""

from pathlib import Path

import numpy as np
import pytest
from small_net import NAMES, TEXT, picture

from netspec import Net
from netspec.data.datum import raw_datum
from netspec.data.lmdb_store import write_lmdb


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    """Keep decoded sets out of the user's cache folder."""
    monkeypatch.setenv("NETSPEC_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def images():
    """Ten images (N, C, H, W), BGR."""
    return np.random.default_rng(0).integers(0, 256, (10, 3, 8, 9), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path, images):
    """A folder with a net ("net.prototxt"), its weights ("net.caffemodel"), the ten images as its data ("test_lmdb",
    "labels.txt") and as files ("images")."""
    data = [raw_datum(image, index % 4) for index, image in enumerate(images)]
    for name in ("train_lmdb", "test_lmdb"):
        records = ((b"%08d_x%d.png" % (i, i), datum.SerializeToString()) for i, datum in enumerate(data))
        write_lmdb(tmp_path / name, records)
    (tmp_path / "labels.txt").write_text("\n".join(NAMES) + "\n")
    (tmp_path / "images").mkdir()
    for index, image in enumerate(images):
        picture(image).save(tmp_path / "images" / f"x{index}.png")
    (tmp_path / "net.prototxt").write_text(TEXT)
    net = Net(tmp_path / "net.prototxt")
    net.save(tmp_path / "net.caffemodel")
    net.close()
    return tmp_path


@pytest.fixture
def saved(folder):
    """Write another text beside the net's, and give its path."""

    def saved(text: str, name: str = "other.prototxt") -> Path:
        (folder / name).write_text(text)
        return folder / name

    return saved
