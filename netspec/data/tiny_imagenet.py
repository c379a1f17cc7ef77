"""Tiny ImageNet (Stanford CS231n) as Caffe would store it: two LMDBs, a mean file and the labels' names."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from PIL import Image
from tqdm import tqdm

from netspec.data.datum import Pixels, decode, encoded_datum
from netspec.data.lmdb_store import write_lmdb
from netspec.data.mean import MeanImage, write_mean
from netspec.data.order import permutation
from netspec.errors import DataError

URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
MD5 = "90528d7ca1a48142e341f4ef8d21d0de"
PARTS = ("train_lmdb", "val_lmdb", "mean.binaryproto", "labels.txt")

_SEED = 0
_SHAPE = (3, 64, 64)


@dataclass
class _Files:
    """What the sources hold: the lists' lines and the images' bytes, by file name (240 MB for the whole set)."""

    lists: dict[str, list[str]] = field(default_factory=dict)
    train: dict[str, dict[str, bytes]] = field(default_factory=dict)
    val: dict[str, bytes] = field(default_factory=dict)

    def lines(self, name: str) -> list[str]:
        if name not in self.lists:
            raise DataError(f"the sources hold no {name}; give every part of the set")
        return self.lists[name]


@dataclass(frozen=True)
class _Item:
    name: str
    data: bytes
    label: int


def make(out: Path, sources: Sequence[Path] = (), classes: int | None = None, force: bool = False) -> str:
    """Write the set into the folder `out` and return a line on what was written.

    `sources` are archives (zip, tar) or folders of the standard layout, read without unpacking; none means download.
    `classes` keeps the first wnids of wnids.txt only. `out` gets its parts only once all of them are whole; a set that
    is there already is replaced only with `force`. Raises DataError, also on an image that cannot be decoded.
    """
    if not force and all((out / part).exists() for part in PARTS):
        raise DataError(f"{out} already holds the set; --force replaces it")
    out.mkdir(parents=True, exist_ok=True)
    making = out / f".making.{os.getpid()}"
    try:
        making.mkdir()
        summary = _write(making, _read(sources or [download(making)]), classes)
        (out / PARTS[-1]).unlink(missing_ok=True)  # while parts are replaced the set is not complete
        for part in PARTS:
            _move(making / part, out / part)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return f"{out}: {summary}"


def download(folder: Path, url: str = URL, md5: str = MD5) -> Path:
    """Fetch the archive into `folder`; DataError where it does not arrive or is not the known one."""
    target = folder / "tiny-imagenet-200.zip"
    digest = hashlib.md5()
    try:
        with urllib.request.urlopen(url, timeout=60) as reply, target.open("wb") as file:
            size = int(reply.headers.get("Content-Length", 0)) or None
            with tqdm(total=size, unit="B", unit_scale=True, desc="download") as progress:
                while block := reply.read(1 << 20):
                    file.write(block)
                    digest.update(block)
                    progress.update(len(block))
    except OSError as error:
        raise DataError(f"{url} cannot be fetched to {target}: {error}; --from takes an archive you have") from None
    if digest.hexdigest() != md5:
        raise DataError(f"{url}: the checksum is {digest.hexdigest()} where {md5} is expected; try again")
    return target


def _read(sources: Sequence[Path]) -> _Files:
    files = _Files()
    for source in sources:
        for name, data in _members(source):
            _sort(files, PurePosixPath(name).parts, data)
    return files


def _sort(files: _Files, parts: tuple[str, ...], data: bytes) -> None:
    """Put one file of the standard layout where it belongs; others (boxes, unlabelled test images) are passed over."""
    match parts[-4:]:
        case [*_, ("wnids.txt" | "words.txt" | "val_annotations.txt") as name]:
            files.lists[name] = data.decode(errors="replace").splitlines()
        case ["train", wnid, "images", name]:
            files.train.setdefault(wnid, {})[name] = data
        case [*_, "val", "images", name]:
            files.val[name] = data


def _members(source: Path) -> Iterator[tuple[str, bytes]]:
    """Every file of a folder or an archive, as (path, bytes)."""
    try:
        if source.is_dir():
            for path in source.rglob("*"):
                if path.is_file():
                    yield path.as_posix(), path.read_bytes()
        elif zipfile.is_zipfile(source):
            with zipfile.ZipFile(source) as archive:
                for name in tqdm(archive.namelist(), desc=f"read {source.name}", unit="file"):
                    if not name.endswith("/"):
                        yield name, archive.read(name)
        else:
            with tarfile.open(source, "r|*") as archive:
                for member in tqdm(archive, desc=f"read {source.name}", unit="file"):
                    if (file := archive.extractfile(member)) is not None:
                        yield member.name, file.read()
    except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{source}: cannot be read as a zip, a tar or a folder: {error}") from None


def _write(folder: Path, files: _Files, classes: int | None) -> str:
    wnids = files.lines("wnids.txt")
    if classes is not None and not 1 <= classes <= len(wnids):
        raise DataError(f"{classes} classes asked for; wnids.txt has {len(wnids)}")
    labels = {wnid: label for label, wnid in enumerate(wnids[:classes])}
    train, val = _train_items(files, labels), _val_items(files, labels)
    mean = MeanImage()
    write_lmdb(folder / "train_lmdb", _records(train, mean))
    write_lmdb(folder / "val_lmdb", _records(val, MeanImage()))
    write_mean(folder / "mean.binaryproto", mean.value())
    names = dict(line.split("\t", 1) for line in files.lines("words.txt") if "\t" in line)
    (folder / "labels.txt").write_text("".join(f"{wnid} {names.get(wnid, '')}\n" for wnid in labels))
    return f"{len(labels)} classes, {len(train)} train and {len(val)} val images"


def _train_items(files: _Files, labels: dict[str, int]) -> list[_Item]:
    if missing := [wnid for wnid in labels if wnid not in files.train]:
        raise DataError(f"the sources hold no train images of {len(missing)} classes, {missing[0]} the first of them")
    items = [_Item(name, data, labels[w]) for w in labels for name, data in sorted(files.train[w].items())]
    return [items[i] for i in permutation(len(items), _SEED)]


def _val_items(files: _Files, labels: dict[str, int]) -> list[_Item]:
    annotated = [line.split("\t")[:2] for line in files.lines("val_annotations.txt")]
    items = [
        _Item(name, files.val[name], labels[wnid]) for name, wnid in annotated if wnid in labels and name in files.val
    ]
    if not items:
        raise DataError("the sources hold no val images of the classes asked for")
    return items


def _records(items: Sequence[_Item], mean: MeanImage) -> Iterator[tuple[bytes, bytes]]:
    for index, item in enumerate(tqdm(items, desc="write", unit="image")):
        data, image = _in_colour(item)
        mean.add(image)
        yield f"{index:08d}_{item.name}".encode(), encoded_datum(data, item.label).SerializeToString()


def _in_colour(item: _Item) -> tuple[bytes, Pixels]:
    """The stored bytes and pixels of an image. A grey one becomes a colour PNG, which loses nothing.

    Caffe takes the channels from the file unless force_color is set, so a grey one amid colour would stop it.
    """
    try:
        data, image = item.data, decode(encoded_datum(item.data, item.label))
        if len(image) == 1:
            data = _as_colour_png(image)
            image = image.repeat(3, axis=0)
    except DataError as error:
        raise DataError(f"{item.name}: {error}") from None
    if image.shape != _SHAPE:
        raise DataError(f"{item.name}: an image of {image.shape} in a set of {_SHAPE}")
    return data, image


def _as_colour_png(grey: Pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(grey[0]).convert("RGB").save(file, "PNG")
    return file.getvalue()


def _move(part: Path, target: Path) -> None:
    if target.is_dir():
        shutil.rmtree(target)
    part.replace(target)
