"""Labelled images of one size, of a database, a list or a folder, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from netspec.data.class_folder import read_folder
from netspec.data.image_list import ImageFiles, ListedImages
from netspec.data.leveldb_store import is_leveldb
from netspec.data.list_file import read_listing
from netspec.data.open_store import open_store
from netspec.data.order import permutation
from netspec.data.records import Store, colour_like, read_image
from netspec.data.thread_pool import in_order, thread_pool
from netspec.errors import DataError


@dataclass(frozen=True)
class ImageSet:
    """Images (N, C, H, W), uint8, with a class number each (N,); `path` is how messages name them."""

    path: Path
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, size: int) -> Iterator[NDArray[np.float32]]:
        """All images in order as numbers 0 to 255."""
        for start in range(0, len(self), size):
            yield self.images[start : start + size].astype(np.float32)


def open_images(path: Path, count: int | None = None, seed: int = 0) -> ImageSet:
    """Read a database, a list ("path label" a line) or a folder of classes, or `count` of its images that `seed` draws.
    DataError where images have no class, or are not of one size and of bytes."""
    store = _store(path)
    if store.label_shape:
        raise DataError(f"{path}: k-means needs one class an image; these have {store.label_shape[0] or 'no'} labels")
    rows = np.arange(len(store)) if count is None else np.sort(permutation(len(store), seed)[:count])
    first, _ = read_image(store, int(rows[0]), None)
    colour, images, labels = colour_like(first), np.empty((len(rows), *first.shape), np.uint8), np.empty(len(rows))

    def read(place: int) -> None:
        index = int(rows[place])
        image, label = read_image(store, index, colour)
        if image.shape != first.shape or image.dtype != np.uint8:
            raise DataError(f"{store.where(index)}: k-means needs images of bytes, of the size of the first one")
        if not float(label) >= 0 or not float(label).is_integer():
            raise DataError(f"{store.where(index)}: the label {label:g} is no number of a class")
        images[place], labels[place] = image, label

    with thread_pool() as pool:
        for _ in in_order(pool, read, range(len(rows))):
            pass
    return ImageSet(path, images, labels.astype(np.int64))


def _store(path: Path) -> Store:
    if is_leveldb(path) or path.suffix == ".mdb" or (path / "data.mdb").exists():
        return open_store(path)
    if path.is_dir():
        return ListedImages(read_folder(path), ImageFiles(f"{path}/", Path), None)
    return ListedImages(read_listing(path, 1), ImageFiles("", Path), None)
