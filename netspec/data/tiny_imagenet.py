"""Tiny ImageNet (Stanford CS231n) as Caffe would store it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from netspec.data.archive import members
from netspec.data.class_folder import distinct
from netspec.data.download import Remote, download
from netspec.data.form import KEEP, Record, record
from netspec.data.made_set import Split, Splits, make_set
from netspec.data.order import permutation
from netspec.errors import DataError

REMOTE = Remote(
    "tiny-imagenet-200.zip",
    ["http://cs231n.stanford.edu/tiny-imagenet-200.zip"],
    "90528d7ca1a48142e341f4ef8d21d0de",
)
SPLITS = ("train", "val")

_SEED = 0
_SHAPE = (3, 64, 64)


@dataclass
class _Files:
    """What the sources hold: the lists' lines and the images' bytes, by file name (240 MB for the whole set)."""

    lists: dict[str, list[str]] = field(default_factory=dict)
    train: dict[str, dict[str, bytes]] = field(default_factory=dict)
    val: dict[str, bytes] = field(default_factory=dict)

    def lines(self, name: str) -> list[str]:
        """The lines of a list that hold something, stripped."""
        if name not in self.lists:
            raise DataError(f"the sources hold no {name}; give every part of the set")
        return [line.strip() for line in self.lists[name] if line.strip()]


@dataclass(frozen=True)
class _Item:
    name: str
    data: bytes
    label: int


def make(out: Path, sources: Sequence[Path] = (), classes: int | None = None, force: bool = False) -> str:
    """Write the set into the folder `out` and return a line on what was written.

    `sources` are archives (zip, tar) or folders of the standard layout, read without unpacking; none means download.
    `classes` keeps the first wnids of wnids.txt only. As `make_set`. Raises DataError, also on an image that cannot be
    decoded.
    """
    return make_set(out, SPLITS, lambda folder: _splits(sources or [download(REMOTE, folder)], classes), force)


def _splits(sources: Sequence[Path], classes: int | None) -> Splits:
    files = _Files()
    for name, data in members(sources):
        _sort(files, PurePosixPath(name).parts, data)
    wnids = distinct(files.lines("wnids.txt"), "wnids.txt")
    if classes is not None and not 1 <= classes <= len(wnids):
        raise DataError(f"{classes} classes asked for; wnids.txt has {len(wnids)}")
    labels = {wnid: label for label, wnid in enumerate(wnids[:classes])}
    names = dict(line.split("\t", 1) for line in files.lines("words.txt") if "\t" in line)
    parts = {"train": _train_items(files, labels), "val": _val_items(files, labels)}
    return Splits(
        {split: Split(len(items), _records(items)) for split, items in parts.items()},
        [f"{wnid} {names.get(wnid, '')}" for wnid in labels],
    )


def _sort(files: _Files, parts: tuple[str, ...], data: bytes) -> None:
    """Put one file of the standard layout where it belongs; others (boxes, unlabelled test images) are passed over."""
    match parts[-4:]:
        case [*_, ("wnids.txt" | "words.txt" | "val_annotations.txt") as name]:
            files.lists[name] = data.decode(errors="replace").splitlines()
        case ["train", wnid, "images", name]:
            files.train.setdefault(wnid, {})[name] = data
        case [*_, "val", "images", name]:
            files.val[name] = data


def _train_items(files: _Files, labels: dict[str, int]) -> list[_Item]:
    if missing := [wnid for wnid in labels if wnid not in files.train]:
        raise DataError(f"the sources hold no train images of {len(missing)} classes, {missing[0]} the first of them")
    items = [_Item(name, data, labels[w]) for w in labels for name, data in sorted(files.train[w].items())]
    return [items[i] for i in permutation(len(items), _SEED)]


def _val_items(files: _Files, labels: dict[str, int]) -> list[_Item]:
    annotated = [(*line.split("\t"), "")[:2] for line in files.lines("val_annotations.txt")]
    ours = [(name, labels[wnid]) for name, wnid in annotated if wnid in labels]
    if not ours:
        raise DataError("val_annotations.txt names no val images of the classes asked for")
    if missing := [name for name, _ in ours if name not in files.val]:
        raise DataError(f"the sources hold no val image {missing[0]} ({len(missing)} of {len(ours)} are missing)")
    return [_Item(name, files.val[name], label) for name, label in ours]


def _records(items: Sequence[_Item]) -> Iterator[Record]:
    """The images as they are stored. A grey one becomes a colour PNG: Caffe takes the channels from the file unless
    force_color is set, so a grey one amid colour would stop it."""
    for item in items:
        try:
            stored = record(item.name, item.data, item.label, KEEP)
        except DataError as error:
            raise DataError(f"{item.name}: {error}") from None
        if stored.image.shape != _SHAPE:
            raise DataError(f"{item.name}: an image of {stored.image.shape} in a set of {_SHAPE}")
        yield stored
