"""A folder of classes as a set: split by its train and val folders, or by drawing a part of each class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from netspec.data.class_folder import ANNOTATIONS
from netspec.data.convert import Damaged, records
from netspec.data.form import KEEP, Form, Record
from netspec.data.image_files import ImageFile, image_files
from netspec.data.made_set import Split, Splits, make_set
from netspec.data.order import permutation
from netspec.errors import DataError

SPLITS = ("train", "val")

Files = Sequence[ImageFile]
Names = dict[int | tuple[float, ...], str]  # of classes, by their labels


def make(
    out: Path,
    folder: Path,
    val_fraction: float = 0.1,
    seed: int = 0,
    size: tuple[int, int] | None = None,
    colour: bool = True,
    skip_damaged: int = 0,
    force: bool = False,
) -> str:
    """Write the images of a folder into the folder `out`, and return a line on what was written.

    Where `folder` has the folders train and val, each of them has the classes. Otherwise it has them itself, and of
    each class `val_fraction`, rounded, becomes val: which images, `seed` alone decides, as the order of the train
    images. Colour files stay byte for byte, unless `size` (height, width) resizes all, to PNG. Without it all must have
    one size. Up to `skip_damaged` files that are no images are left out. As `make_set`. Raises DataError.
    """
    form, damaged = replace(KEEP, size=size, colour=colour), Damaged(skip_damaged, "--skip-damaged")
    line = make_set(out, SPLITS, lambda _: _splits(folder, val_fraction, seed, form, damaged), force)
    return f"{line}, {damaged.count} left out" if damaged.count else line


def _splits(folder: Path, val_fraction: float, seed: int, form: Form, damaged: Damaged) -> Splits:
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder")
    if all((folder / split).is_dir() for split in SPLITS):
        train, val = (image_files(folder / split) for split in SPLITS)
        classes = _classes(train)
        if not (folder / "val" / ANNOTATIONS).is_file():  # in which the classes have train's numbers
            _hold(_classes(val), classes, folder / "val")
    else:
        files = image_files(folder)
        classes = _classes(files)
        train, val = _drawn(files, val_fraction, seed)
    train = [train[index] for index in permutation(len(train), seed)]
    split = {
        name: Split(len(part), _sound(f"{folder}: {name}", part, form, damaged))
        for name, part in zip(SPLITS, (train, val), strict=True)
    }
    return Splits(split, list(classes.values()))


def _classes(files: Files) -> Names:
    """The name of each class: the folder that its images lie in."""
    return {file.labels: file.name.split("/")[0] for file in files}


def _hold(val: Names, train: Names, folder: Path) -> None:
    for label, name in val.items():
        if train.get(label) != name:
            raise DataError(f"{folder / name}: its number among the folders, {label}, is of another class in train")


def _drawn(files: Files, val_fraction: float, seed: int) -> tuple[list[ImageFile], list[ImageFile]]:
    """The files that are learned from and those that are not, each in their order, `val_fraction` of each class."""
    if not 0 < val_fraction < 1:
        raise DataError(f"val_fraction must lie between 0 and 1, not {val_fraction:g}")
    train: list[ImageFile] = []
    val: list[ImageFile] = []
    by_class: dict[int | tuple[float, ...], list[ImageFile]] = {}
    for file in files:
        by_class.setdefault(file.labels, []).append(file)
    for place, ours in enumerate(by_class.values()):
        taken = set(permutation(len(ours), seed, place)[: round(len(ours) * val_fraction)].tolist())
        for index, file in enumerate(ours):
            (val if index in taken else train).append(file)
    if not train or not val:
        raise DataError(f"{val_fraction:g} of each class leaves {len(train)} train and {len(val)} val images")
    return train, val


def _sound(where: str, files: Files, form: Form, damaged: Damaged) -> Iterator[Record]:
    """What is stored of the files that are images; DataError where none of them is."""
    before = damaged.count
    for _, record in records(files, form, check_size=True, damaged=damaged):
        yield record
    if damaged.count - before == len(files):
        raise DataError(f"{where}: none of the {len(files)} files is an image")
