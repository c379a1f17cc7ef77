"""A folder of HDF5 files and their list: a set of images as an HDF5Data layer reads it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path

import h5py
import numpy as np

from netspec.data.form import Record
from netspec.errors import DataError
from netspec.files import sync_folder

LIST = "list.txt"

_FILE_BYTES = 256 << 20  # HDF5Data holds one file at a time in memory


def write_hdf5(folder: Path, records: Iterable[Record]) -> None:
    """Write images of one size into a folder, which appears once it is whole.

    Each file has the datasets "data", float32 (N, C, H, W), BGR from 0 to 255, and "label", float32 (N), or (N, K)
    where there are several; list.txt has their absolute paths, and is the `source` of the layer. DataError where
    `folder` exists, or cannot be written.
    """
    if folder.exists():
        raise DataError(f"{folder} already exists; remove it or write elsewhere")
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    names = (f"{number:04d}.h5" for number in count())
    try:
        temporary.mkdir(parents=True)
        written = [_write(temporary / name, part) for name, part in zip(names, _parts(records), strict=False)]
        if not written:
            raise DataError(f"{folder}: there are no images to write")
        (temporary / LIST).write_text("".join(f"{folder.absolute() / name}\n" for name in written), "utf-8")
        temporary.rename(folder)
        sync_folder(folder.absolute().parent)
    except (OSError, RuntimeError) as error:  # h5py's RuntimeError: the disk is full
        raise DataError(f"{folder}: cannot be written: {error}") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _parts(records: Iterable[Record]) -> Iterator[list[Record]]:
    part: list[Record] = []
    for record in records:
        part.append(record)
        if len(part) * record.image.size * 4 >= _FILE_BYTES:
            yield part
            part = []
    if part:
        yield part


def _write(path: Path, part: list[Record]) -> str:
    with h5py.File(path, "w") as file:
        file["data"] = np.stack([record.image for record in part]).astype(np.float32)
        labels = [list(record.datum.labels) or record.datum.label for record in part]
        file["label"] = np.array(labels, np.float32)
    return path.name
