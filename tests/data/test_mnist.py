"""The maker of MNIST, on small files of its format."""

import gzip
import hashlib
import zipfile

import numpy as np
import pytest

from netspec.data import mnist
from netspec.data.download import Remote
from netspec.data.lmdb_store import LmdbStore
from netspec.errors import DataError

LABELS = {"train": [3, 1, 9, 0], "t10k": [7, 7]}


def idx(array):
    """An array in the IDX format."""
    sizes = np.array(array.shape, ">u4").tobytes()
    return bytes((0, 0, 8, array.ndim)) + sizes + array.astype(np.uint8).tobytes()


@pytest.fixture
def images(pixels):
    return {split: pixels(len(labels), 28, 28, seed=len(labels)) for split, labels in LABELS.items()}


@pytest.fixture
def files(images):
    """The four files by name, not packed."""
    found = {f"{split}-images-idx3-ubyte": idx(array) for split, array in images.items()}
    return found | {f"{split}-labels-idx1-ubyte": idx(np.array(labels)) for split, labels in LABELS.items()}


def as_packed_files(files, folder):
    for name, data in files.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(data))
    return [folder / f"{name}.gz" for name in files]


def as_folder(files, folder):
    (folder / "raw").mkdir()
    for name, data in files.items():
        (folder / "raw" / name).write_bytes(data)
    return [folder / "raw"]


def as_zip(files, folder):
    with zipfile.ZipFile(folder / "x.zip", "w") as archive:
        for name, data in files.items():
            archive.writestr(f"mnist/{name}.gz", gzip.compress(data))
    return [folder / "x.zip"]


@pytest.mark.parametrize("pack", [as_packed_files, as_folder, as_zip])
def test_writes_the_set(pack, files, images, tmp_path):
    """From the packed files, a folder of unpacked ones or an archive: both splits in their order, grey."""
    out = tmp_path / "out"
    assert "10 classes, 4 train and 2 test images" in mnist.make(out, pack(files, tmp_path))
    for split, name in (("train", "train"), ("test", "t10k")):
        store = LmdbStore(out / f"{split}_lmdb")
        data = [store.read(index) for index in range(len(store))]
        assert [datum.label for datum in data] == LABELS[name]
        assert [datum.data for datum in data] == [image.tobytes() for image in images[name]]
        assert (data[0].channels, data[0].height, data[0].width) == (1, 28, 28)
    assert (out / "labels.txt").read_text().split() == list("0123456789")


def test_downloads_the_files(files, tmp_path, monkeypatch):
    """Without sources the four files are fetched and checked, and removed in the end."""
    known = []
    for path in as_packed_files(files, tmp_path):
        known.append(Remote(path.name, [path.as_uri()], hashlib.md5(path.read_bytes()).hexdigest()))
    monkeypatch.setattr(mnist, "REMOTES", known)
    assert "4 train" in mnist.make(tmp_path / "out")
    names = ["labels.txt", "mean.binaryproto", "test_lmdb", "train_lmdb"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names


def test_the_known_files():
    """Four files, each at two addresses."""
    assert [remote.name for remote in mnist.REMOTES] == [
        "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz", "t10k-images-idx3-ubyte.gz",
        "t10k-labels-idx1-ubyte.gz",
    ]  # fmt: skip
    assert all(url.endswith(f"/{remote.name}") for remote in mnist.REMOTES for url in remote.urls)


@pytest.mark.parametrize(
    ("name", "change", "cause"),
    [
        ("t10k-labels-idx1-ubyte", lambda data: None, r"hold no t10k-labels-idx1-ubyte \(1 of the 4"),
        ("train-images-idx3-ubyte", lambda data: data[:-1], r"train-images-idx3-ubyte is no IDX file of 3 axes, or it"),
        ("train-images-idx3-ubyte", lambda data: b"", "is no IDX file of 3 axes"),
        ("train-labels-idx1-ubyte", lambda data: b"\0\0\x0d\1" + data[4:], "is no IDX file of 1 axes"),
        ("train-labels-idx1-ubyte", lambda data: idx(np.arange(3)), "train: 4 images and 3 labels"),
        ("train-images-idx3-ubyte", lambda data: idx(np.zeros((4, 8, 98))), r"train: images of \(8, 98\) pixels where"),
        ("t10k-labels-idx1-ubyte", lambda data: idx(np.array([7, 200])), "t10k: an image of class 200; the digits"),
    ],
)
def test_refuses_other_files(name, change, cause, files, tmp_path):
    """What is missing, cut short or of another form is named, and nothing is written."""
    files = {key: change(data) if key == name else data for key, data in files.items()}
    with pytest.raises(DataError, match=cause):
        mnist.make(tmp_path / "out", as_folder({k: v for k, v in files.items() if v is not None}, tmp_path))
    assert list((tmp_path / "out").iterdir()) == []
