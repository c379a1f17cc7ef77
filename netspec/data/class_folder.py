"""A folder of images, one folder in it for each class, as a listing: torchvision's ImageFolder and Tiny ImageNet."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from netspec.data.list_file import Listing, read_lines
from netspec.errors import DataError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
_WNIDS, ANNOTATIONS, _IMAGES = "wnids.txt", "val_annotations.txt", "images"
_PARTS = {"train", "val", "valid", "validation", "test"}

_log = logging.getLogger("netspec")


def read_folder(path: Path) -> Listing:
    """The images of a folder, class after class, each class in the order of its files' names.

    Its folders are the classes, numbered in the order of their names, or of the wnids.txt beside it, as in the LMDBs
    that get_data.py makes of Tiny ImageNet. Images may lie deeper in a class's folder. A folder with
    val_annotations.txt and images/ has its labels from there. One with images/ alone, or with images and no folder,
    has none: its labels are (N, 0). Files of other kinds are passed over. Raises DataError, also where the folders are
    the parts of a set, such as train and test.
    """
    try:
        if (path / ANNOTATIONS).is_file():
            return _annotated(path)
        files, folders = _content(path)
        if folders and folders != [_IMAGES]:
            _refuse_parts(path, folders)
            return _classes(path, folders)
        images = list(filter(_is_image, _files(path / _IMAGES, f"{_IMAGES}/") if folders else files))
    except OSError as error:
        raise DataError(f"{error.filename}: the folder cannot be read: {error.strerror}") from None
    if not images:
        other = _other_kind(path, files)
        raise DataError(f"{path}: the folder holds no images ({', '.join(SUFFIXES)}), nor folders of them{other}")
    return Listing(path, images, np.empty((len(images), 0)))


def _other_kind(path: Path, files: list[str]) -> str:
    """What a folder without images is, where that is seen, and what reads it."""
    if "data.mdb" in files or "CURRENT" in files:
        return ": it is a database, which a Data layer reads"
    if any(file.endswith((".h5", ".hdf5")) for file in files):
        return ": it holds HDF5 files, whose rows an HDF5Data layer reads as they are, by a list of them"
    return ""


def holds_images(path: Path) -> bool:
    """Whether a folder holds images, or a folder in it does."""
    try:
        files, folders = _content(path)
        return any(map(_is_image, [*files, *(file for name in folders for file in _content(path / name)[0])]))
    except OSError:
        return False


def _refuse_parts(path: Path, folders: list[str]) -> None:
    """One of many classes may be called as a part is: CIFAR-100 has trains."""
    parts = [folder for folder in folders if folder.lower() in _PARTS]
    if len(parts) > 1 or parts == folders:
        raise DataError(f"{path} holds the parts of a set ({', '.join(parts)}), not its classes: give one part")


def _classes(path: Path, folders: list[str]) -> Listing:
    names, labels, others = [], [], 0
    classes = _numbered(path, folders)
    for label, folder in enumerate(classes):
        files = list(_files(path / folder, f"{folder}/"))
        images = list(filter(_is_image, files))
        if not images:
            raise DataError(f"{path / folder}: the folder of class {label} holds no images ({', '.join(SUFFIXES)})")
        names += images
        labels += [float(label)] * len(images)
        others += len(files) - len(images)
    passed_over = f"; {others} files of other kinds are passed over" if others else ""
    first, last = classes[0], classes[-1]
    _log.info(
        "%s: %d images of %d classes, %s (0) to %s (%d)%s",
        path, len(names), len(classes), first, last, len(classes) - 1, passed_over,
    )  # fmt: skip
    return Listing(path, names, np.array(labels), classes=tuple(classes))


def class_names(path: Path) -> tuple[str, ...]:
    """The names of a folder's classes by number; none where its images have no labels. DataError where there is no
    such folder, or its classes have no numbers."""
    try:
        if (path / ANNOTATIONS).is_file():
            return _annotated_classes(path)
        folders = _content(path)[1]
    except OSError as error:
        raise DataError(f"{error.filename}: the folder cannot be read: {error.strerror}") from None
    return tuple(_numbered(path, folders)) if folders and folders != [_IMAGES] else ()


def _annotated_classes(path: Path) -> tuple[str, ...]:
    """The classes by number of images that a text names with their classes."""
    beside = path.absolute().parent
    if (beside / "train").is_dir():
        folders = _content(beside / "train")[1]
    elif (beside / _WNIDS).is_file():
        folders = []
    else:
        raise DataError(f"{path / ANNOTATIONS} tells no numbers of classes: {_WNIDS} or train/ is needed in {beside}")
    return tuple(_numbered(beside / "train", folders))


def _annotated(path: Path) -> Listing:
    """Images named with their class in a text, as Tiny ImageNet's validation set is."""
    classes = _annotated_classes(path)
    numbers = {name: float(number) for number, name in enumerate(classes)}
    names, labels = [], []
    for line_number, line in read_lines(path / ANNOTATIONS):
        name, class_name = (*line.split("\t"), "")[:2]
        if class_name not in numbers:
            raise DataError(f"{path / ANNOTATIONS}: line {line_number} is of no known class: {line[:80]}")
        names.append(f"{_IMAGES}/{name}")
        labels.append(numbers[class_name])
    return Listing(path, names, np.array(labels), classes=classes)


def _numbered(path: Path, folders: list[str]) -> Sequence[str]:
    """The classes in the order of their numbers."""
    order = path.absolute().parent / _WNIDS
    if not order.is_file():
        return folders
    classes = distinct([line for _, line in read_lines(order)], order)
    if folders and (unknown := sorted(set(folders) - set(classes))):
        raise DataError(f"{path / unknown[0]}: a class that {order} does not name ({len(unknown)} such folders)")
    if folders and (missing := [name for name in classes if name not in set(folders)]):
        raise DataError(f"{path} has no folder {missing[0]}, a class that {order} names ({len(missing)} such classes)")
    return classes


def distinct(classes: Sequence[str], order: Path | str) -> Sequence[str]:
    """The classes that `order` names; DataError where it names one twice, after which all numbers would be wrong."""
    if repeated := [name for name, count in Counter(classes).items() if count > 1]:
        raise DataError(f"{order} names {repeated[0]} more than once ({len(repeated)} such classes)")
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
    return name.lower().endswith(SUFFIXES)
