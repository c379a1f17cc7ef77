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

_MARK = ".unfinished"
"""A file that lies in a set's folder while its parts are put there."""


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
    """The files and folders of a set."""
    return [*(f"{name}_lmdb" for name in splits), MEAN, LABELS]


def make_set(out: Path, names: Sequence[str], read: Callable[[Path], Splits], force: bool = False) -> str:
    """Write the set that `read` gives, of which the splits are `names`, into the folder `out`; a line on what was
    written. What is downloaded goes into the folder that `read` gets, and stays there until the set is whole.

    `out` gets its parts only once all of them are whole; what is there already under their names is replaced only with
    `force`, unless an earlier call was cut off as it put them there. Raises DataError.
    """
    parts = part_names(names)
    there = [part for part in parts if (out / part).exists()]
    if there and not force and not (out / _MARK).exists():
        raise DataError(f"{out} already holds {' and '.join(there)}; --force replaces what is there")
    making, downloads = out / f".making.{os.getpid()}", out / ".download"
    try:
        making.mkdir(parents=True)
        summary = _write(making, read(downloads))
        (out / _MARK).touch()
        for part in parts:
            _move(making / part, out / part)
        (out / _MARK).unlink()
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
    (folder / LABELS).write_text("".join(f"{label}\n" for label in splits.labels), "utf-8", "surrogateescape")
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
