"""A set of images as Caffe's examples have it: an LMDB for each split, the mean of the first, and the labels' names."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from netspec.data.form import Record, key
from netspec.data.lmdb_store import LmdbStore, write_lmdb
from netspec.data.mean import MeanImage, write_mean
from netspec.errors import DataError

MEAN, LABELS = "mean.binaryproto", "labels.txt"


@dataclass(frozen=True)
class Split:
    """One part of a set: how many records it has, at most, and these."""

    count: int
    records: Iterable[Record]


@dataclass(frozen=True)
class Splits:
    """A set: its parts by name, the one that is learned from first, and a line on each class."""

    parts: Mapping[str, Split]
    labels: Sequence[str]


def part_names(splits: Sequence[str]) -> list[str]:
    """The files and folders of a set, the last of them written last."""
    return [*(f"{name}_lmdb" for name in splits), MEAN, LABELS]


def make_set(out: Path, names: Sequence[str], read: Callable[[Path], Splits], force: bool = False) -> str:
    """Write the set that `read` gives, of which the splits are `names`, into the folder `out`; a line on what was
    written. What is downloaded goes into the folder that `read` gets, and stays there until the set is whole.

    `out` gets its parts only once all of them are whole; a set that is there already is replaced only with `force`.
    Raises DataError.
    """
    parts = part_names(names)
    if not force and all((out / part).exists() for part in parts):
        raise DataError(f"{out} already holds the set; --force replaces it")
    making, downloads = out / f".making.{os.getpid()}", out / ".download"
    try:
        making.mkdir(parents=True)
        summary = _write(making, read(downloads))
        (out / LABELS).unlink(missing_ok=True)  # while parts are replaced the set is not complete
        for part in parts:
            _move(making / part, out / part)
        shutil.rmtree(downloads, ignore_errors=True)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return f"{out}: {summary}"


def _write(folder: Path, splits: Splits) -> str:
    for place, (name, split) in enumerate(splits.parts.items()):
        mean = MeanImage() if place == 0 else None
        write_lmdb(folder / f"{name}_lmdb", _keyed(split, name, mean))
        if mean:
            write_mean(folder / MEAN, mean.value())
    (folder / LABELS).write_text("".join(f"{label}\n" for label in splits.labels), "utf-8")
    counts = " and ".join(f"{len(LmdbStore(folder / f'{name}_lmdb'))} {name}" for name in splits.parts)
    return f"{len(splits.labels)} classes, {counts} images"


def _keyed(split: Split, name: str, mean: MeanImage | None) -> Iterator[tuple[bytes, bytes]]:
    for number, record in enumerate(tqdm(split.records, total=split.count, desc=f"write {name}", unit="image")):
        if mean:
            try:
                mean.add(record.image)
            except DataError as error:
                raise DataError(f"{record.name or f'image {number}'}: {error}") from None
        yield key(number, record.name), record.datum.SerializeToString()


def _move(part: Path, target: Path) -> None:
    if target.is_dir():
        shutil.rmtree(target)
    part.replace(target)
