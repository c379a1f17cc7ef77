"""A folder of images, one folder in it for each class, as a listing: torchvision's ImageFolder and Tiny ImageNet."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from netspec.data.list_file import Listing, read_lines
from netspec.errors import DataError

_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
_WNIDS, _ANNOTATIONS, _IMAGES = "wnids.txt", "val_annotations.txt", "images"

_log = logging.getLogger("netspec")


def read_folder(path: Path) -> Listing:
    """The images of a folder, class after class, each class in the order of its files' names.

    Its folders are the classes, numbered in the order of their names, or of the wnids.txt beside it, as in the LMDBs
    that get_data.py makes of Tiny ImageNet. Images may lie deeper in a class's folder. A folder with
    val_annotations.txt and images/ has its labels from there. One with images/ alone, or with images and no folder,
    has none: its labels are (N, 0). Files of other kinds are passed over. Raises DataError.
    """
    try:
        if (path / _ANNOTATIONS).is_file():
            return _annotated(path)
        files, folders = _content(path)
        if folders and folders != [_IMAGES]:
            return _classes(path, folders)
        images = list(filter(_is_image, _files(path / _IMAGES, f"{_IMAGES}/") if folders else files))
    except OSError as error:
        raise DataError(f"{error.filename}: the folder cannot be read: {error.strerror}") from None
    if not images:
        raise DataError(f"{path}: the folder holds no images ({', '.join(_SUFFIXES)}), nor folders of them")
    return Listing(path, images, np.empty((len(images), 0)))


def _classes(path: Path, folders: list[str]) -> Listing:
    names, labels, others = [], [], 0
    classes = _numbered(path, folders)
    for label, folder in enumerate(classes):
        files = list(_files(path / folder, f"{folder}/"))
        images = list(filter(_is_image, files))
        if not images:
            raise DataError(f"{path / folder}: the folder of class {label} holds no images ({', '.join(_SUFFIXES)})")
        names += images
        labels += [float(label)] * len(images)
        others += len(files) - len(images)
    passed_over = f"; {others} files of other kinds are passed over" if others else ""
    first, last = classes[0], classes[-1]
    _log.info(
        "%s: %d images of %d classes, %s (0) to %s (%d)%s",
        path, len(names), len(classes), first, last, len(classes) - 1, passed_over,
    )  # fmt: skip
    return Listing(path, names, np.array(labels))


def _annotated(path: Path) -> Listing:
    """Images named with their class in a text, as Tiny ImageNet's validation set is."""
    beside = path.absolute().parent
    if (beside / "train").is_dir():
        folders = _content(beside / "train")[1]
    elif (beside / _WNIDS).is_file():
        folders = []
    else:
        raise DataError(f"{path / _ANNOTATIONS} tells no numbers of classes: {_WNIDS} or train/ is needed in {beside}")
    numbers = {name: float(number) for number, name in enumerate(_numbered(beside / "train", folders))}
    names, labels = [], []
    for line_number, line in read_lines(path / _ANNOTATIONS):
        name, class_name = (*line.split("\t"), "")[:2]
        if class_name not in numbers:
            raise DataError(f"{path / _ANNOTATIONS}: line {line_number} is of no known class: {line[:80]}")
        names.append(f"{_IMAGES}/{name}")
        labels.append(numbers[class_name])
    return Listing(path, names, np.array(labels))


def _numbered(path: Path, folders: list[str]) -> list[str]:
    """The classes in the order of their numbers."""
    order = path.absolute().parent / _WNIDS
    if not order.is_file():
        return folders
    classes = [line for _, line in read_lines(order)]
    if folders and (unknown := sorted(set(folders) - set(classes))):
        raise DataError(f"{path / unknown[0]}: a class that {order} does not name ({len(unknown)} such folders)")
    if folders and (missing := [name for name in classes if name not in set(folders)]):
        raise DataError(f"{path} has no folder {missing[0]}, a class that {order} names ({len(missing)} such classes)")
    return classes


def _content(folder: Path) -> tuple[list[str], list[str]]:
    """The names of the files and of the folders in a folder, in order, without hidden ones."""
    files: list[str] = []
    folders: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith("."):
                (folders if entry.is_dir() else files).append(entry.name)
    return sorted(files), sorted(folders)


def _files(folder: Path, prefix: str) -> Iterator[str]:
    """The names of all files in a folder and in those in it, each after the prefix and its folders."""
    files, folders = _content(folder)
    yield from (prefix + name for name in files)
    for name in folders:
        yield from _files(folder / name, f"{prefix}{name}/")


def _is_image(name: str) -> bool:
    return name.lower().endswith(_SUFFIXES)
