"""The digits that come with netspec."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import netspec
from netspec.data.datum import decode, raw_datum
from netspec.data.lmdb_store import LmdbStore, write_lmdb

DIGITS = Path(netspec.__file__).parent / "data" / "digits"
COUNTS = {"train_lmdb": 1500, "test_lmdb": 297}
SEED = 1797


def records(images: np.ndarray, labels: np.ndarray) -> Iterator[tuple[bytes, bytes]]:
    """Keys and raw Datums of images with values 0..16, scaled to 0..255."""
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        pixels = np.round(image * 255 / 16).astype(np.uint8)
        datum = raw_datum(pixels[None], int(label))
        datum.ClearField("encoded")  # false in any case
        yield b"%08d" % index, datum.SerializeToString()


def write_digits(folder: Path) -> None:
    """Write both sets from scikit-learn's copy, shuffled once."""
    bunch = pytest.importorskip("sklearn.datasets", reason="scikit-learn holds the originals").load_digits()
    order = np.random.RandomState(SEED).permutation(len(bunch.images))  # a stream numpy has frozen
    splits = np.split(order, [COUNTS["train_lmdb"]])
    for name, chosen in zip(COUNTS, splits, strict=True):
        write_lmdb(folder / name, records(bunch.images[chosen], bunch.target[chosen]))


@pytest.mark.parametrize("name", COUNTS)
def test_committed_digits_are_the_originals(name: str, tmp_path: Path) -> None:
    """Every committed record is what the maker writes from scikit-learn's copy of the set."""
    write_digits(tmp_path)
    made, committed = LmdbStore(tmp_path / name), LmdbStore(DIGITS / name)
    assert made.keys == committed.keys
    assert all(made.read(i) == committed.read(i) for i in range(len(made)))


@pytest.mark.parametrize("name", COUNTS)
def test_digits_are_small_grey_images_of_ten_classes(name: str) -> None:
    """The sets have their sizes, images 1x8x8 that use the range 0..255, and the labels 0 to 9."""
    store = LmdbStore(DIGITS / name)
    data = [store.read(i) for i in range(len(store))]
    images = np.stack([decode(datum) for datum in data])
    assert images.shape == (COUNTS[name], 1, 8, 8)
    assert (images.min(), images.max()) == (0, 255)
    assert {datum.label for datum in data} == set(range(10))
