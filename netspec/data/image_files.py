"""The image files that a list names, or that lie in a folder of classes, one by one with their labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from netspec.data.class_folder import read_folder
from netspec.data.list_file import Listing, read_listing
from netspec.errors import DataError


@dataclass(frozen=True)
class ImageFile:
    """An image file: its name as the list has it, or below the folder; its place; its class, or several labels; and
    how messages name it."""

    name: str
    path: Path
    labels: int | tuple[float, ...]
    where: str

    def read(self) -> bytes:
        """Its bytes; DataError where it cannot be read."""
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise DataError(f"{self.where}: {self.path} cannot be read: {error.strerror}") from None


def image_files(path: Path, root: str = "", labels: int = 1) -> list[ImageFile]:
    """The files of a list, or of a folder of classes, in their order.

    The names of a list lie below the folder `root`, or come after it as it is, as in Caffe. Its lines end with
    `labels` numbers: one is a class. DataError where a class is no whole number, a folder's images have none, or a
    folder comes with what is for lists.
    """
    if labels < 1:
        raise DataError(f"each line ends with 1 or more labels, not {labels}")
    if not path.is_dir():
        return _files(read_listing(path, labels), f"{root}/" if root and Path(root).is_dir() else root)
    if root or labels > 1:
        raise DataError(f"{path} is a folder, whose own folders are the classes: a root and labels are for lists")
    return _files(read_folder(path), f"{path}/")


def _files(listing: Listing, before: str) -> list[ImageFile]:
    if listing.labels.shape[1:] == (0,):
        raise DataError(f"{listing.path}: the images have no labels")
    return [_file(listing, index, before) for index in range(len(listing))]


def _file(listing: Listing, index: int, before: str) -> ImageFile:
    label, where = listing.labels[index], listing.where(index)
    if np.ndim(label):
        labels: int | tuple[float, ...] = tuple(label.tolist())
    else:
        labels = int(label)
        if labels != label or not -(2**31) <= labels < 2**31:
            raise DataError(f"{where}: the class {label:.10g} is no whole number of 32 bits")
    return ImageFile(listing.names[index], Path(before + listing.names[index]), labels, where)
