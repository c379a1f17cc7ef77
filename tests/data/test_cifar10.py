"""The maker of CIFAR-10, on small files of the binary version."""

import hashlib
import io
import tarfile

import numpy as np
import pytest

from netspec.data import cifar10
from netspec.data.datum import decode
from netspec.data.download import Remote
from netspec.data.lmdb_store import LmdbStore
from netspec.data.mean import read_mean
from netspec.errors import DataError

NAMES = b"airplane\nautomobile\nbird\n\n"


@pytest.fixture
def files(pixels):
    """Two records in each file: a class, then red, green and blue planes."""
    names = [*cifar10.SPLITS["train"], *cifar10.SPLITS["test"]]
    rows = pixels(2 * len(names), 3073)
    rows[:, 0] = np.arange(len(rows)) % 3
    files = {name: rows[2 * at : 2 * at + 2].tobytes() for at, name in enumerate(names)}
    return {**files, "batches.meta.txt": NAMES, "readme.html": b"<p>"}


def packed(files, path):
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def test_writes_the_set(files, tmp_path):
    """Both splits keep the order of the files; images are BGR, and the labels have their names."""
    out = tmp_path / "out"
    assert "3 classes, 10 train and 2 test images" in cifar10.make(out, [packed(files, tmp_path / "x.tar.gz")])
    train, test = LmdbStore(out / "train_lmdb"), LmdbStore(out / "test_lmdb")
    assert train.keys == [b"%08d" % index for index in range(10)]
    data = b"".join(files[name] for names in cifar10.SPLITS.values() for name in names)
    rows = np.frombuffer(data, np.uint8).reshape(-1, 3073)
    images = [decode(store.read(index)) for store in (train, test) for index in range(len(store))]
    np.testing.assert_array_equal(np.stack(images)[:, ::-1], rows[:, 1:].reshape(-1, 3, 32, 32))
    assert [train.read(index).label for index in range(10)] == rows[:10, 0].tolist()
    np.testing.assert_allclose(read_mean(out / "mean.binaryproto"), np.mean(images[:10], axis=0), rtol=1e-6)
    assert (out / "labels.txt").read_text() == "airplane\nautomobile\nbird\n"


def test_downloads_the_archive(files, tmp_path, monkeypatch):
    """Without sources the archive is fetched and checked."""
    archive = packed(files, tmp_path / "x.tar.gz")
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    monkeypatch.setattr(cifar10, "REMOTE", Remote("c.tar.gz", [archive.as_uri()], md5))
    assert "10 train" in cifar10.make(tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "content", "cause"),
    [
        ("test_batch.bin", None, r"hold no test_batch.bin \(1 files are missing\); give the binary version"),
        ("data_batch_3.bin", bytes(3074), "data_batch_3.bin has 3074 bytes, which is not a number of records of 3073"),
        ("data_batch_3.bin", b"", "data_batch_3.bin has 0 bytes"),
        ("data_batch_1.bin", b"\x03" * 3073, "data_batch_1.bin has an image of class 3; batches.meta.txt names 3"),
    ],
)
def test_refuses_other_files(name, content, cause, files, tmp_path):
    """What is missing or of another form is named, and nothing is written."""
    files = {key: data for key, data in {**files, name: content}.items() if data is not None}
    with pytest.raises(DataError, match=cause):
        cifar10.make(tmp_path / "out", [packed(files, tmp_path / "x.tar.gz")])
    assert list((tmp_path / "out").iterdir()) == []
