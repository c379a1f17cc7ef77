"""CIFAR-10 (Krizhevsky 2009): 60,000 colour images of 32x32 pixels in 10 classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from netspec.data.archive import members
from netspec.data.datum import Pixels, raw_datum
from netspec.data.download import Remote, download
from netspec.data.form import Record
from netspec.data.made_set import Split, Splits, make_set
from netspec.errors import DataError

REMOTE = Remote(
    "cifar-10-binary.tar.gz",
    ["https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"],
    "c32a1d4ab5d03f1284b67883e8d87530",
)
SPLITS = {"train": [f"data_batch_{number}.bin" for number in range(1, 6)], "test": ["test_batch.bin"]}

_NAMES = "batches.meta.txt"
_SHAPE = (3, 32, 32)
_RECORD_BYTES = 1 + 3 * 32 * 32  # the class, then the red, green and blue pixels


def make(out: Path, sources: Sequence[Path] = (), force: bool = False) -> str:
    """Write the set into the folder `out`, in the order of its files, and return a line on what was written.

    `sources` are the archive or the folder of the binary version; none means download. Unlike in Caffe's example the
    images are BGR, as all others are. As `make_set`. Raises DataError.
    """
    return make_set(out, list(SPLITS), lambda folder: _splits(sources or [download(REMOTE, folder)]), force)


def _splits(sources: Sequence[Path]) -> Splits:
    wanted = [*SPLITS["train"], *SPLITS["test"], _NAMES]
    files = {PurePosixPath(name).name: data for name, data in members(sources, wanted)}
    if missing := [name for name in wanted if name not in files]:
        reason = f"the sources hold no {missing[0]} ({len(missing)} files are missing)"
        raise DataError(f"{reason}; give the binary version, {REMOTE.name}")
    labels = files[_NAMES].decode(errors="replace").split()
    arrays = {
        split: np.concatenate([_rows(name, files[name], len(labels)) for name in SPLITS[split]]) for split in SPLITS
    }
    return Splits({split: Split(len(rows), _records(rows)) for split, rows in arrays.items()}, labels)


def _rows(name: str, data: bytes, classes: int) -> Pixels:
    if not data or len(data) % _RECORD_BYTES:
        raise DataError(f"{name} has {len(data)} bytes, which is not a number of records of {_RECORD_BYTES}")
    rows = np.frombuffer(data, np.uint8).reshape(-1, _RECORD_BYTES)
    if rows[:, 0].max() >= classes:
        raise DataError(f"{name} has an image of class {rows[:, 0].max()}; {_NAMES} names {classes}")
    return rows


def _records(rows: Pixels) -> Iterator[Record]:
    for row in rows:
        image = row[1:].reshape(_SHAPE)[::-1]
        yield Record("", raw_datum(image, int(row[0])), image)
