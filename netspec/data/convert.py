"""Image files into a database, by the rules of Caffe's convert_imageset."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import chain, islice
from pathlib import Path

from tqdm import tqdm

from netspec.data.form import Form, Record, key, record
from netspec.data.hdf5_set import write_hdf5
from netspec.data.image_files import ImageFile
from netspec.data.lmdb_store import write_lmdb
from netspec.data.order import permutation
from netspec.data.thread_pool import in_order, thread_pool
from netspec.errors import DataError

_PART = 8
"""How many files a thread takes at once: one alone may take less time than to hand it over."""

_log = logging.getLogger("netspec")


class _NoImageError(DataError):
    """A file can be read, but is no image."""


class Damaged:
    """Counts files that cannot be used: each is named in the log, until there is one more than `limit`, a DataError,
    which names the `option` that raises the limit, if there is one."""

    def __init__(self, limit: int = 0, option: str = "") -> None:
        self.count, self._limit, self._option = 0, limit, option

    def __call__(self, error: DataError) -> None:
        self.count += 1
        if self.count > self._limit:
            way_out = f"; {self._option} N leaves up to N such files out" if self._option else ""
            raise DataError(f"{error}{way_out}")
        _log.warning("left out: %s", error)


def records(
    files: Iterable[ImageFile], form: Form, check_size: bool = False, damaged: Damaged | None = None
) -> Generator[tuple[int, Record], None, None]:
    """Each file's place among them, and what is stored of it, a few prepared ahead by threads. With `check_size` all
    images must have one size. DataErrors name the file."""
    shape: tuple[int, ...] = ()
    damaged = damaged or Damaged()
    with thread_pool() as pool:
        parts = in_order(pool, partial(_prepared, form=form), _parts(files))
        for number, (file, found) in enumerate(chain.from_iterable(parts)):
            if isinstance(found, _NoImageError):
                damaged(found)
                continue
            if isinstance(found, DataError):
                raise found
            shape = shape or found.image.shape
            if check_size and found.image.shape != shape:
                sizes = f"an image of {found.image.shape} where the first is {shape}"
                raise DataError(f"{file.where}: {sizes}; resizing makes them alike")
            yield number, found


def _parts(files: Iterable[ImageFile]) -> Iterator[list[ImageFile]]:
    files = iter(files)
    while part := list(islice(files, _PART)):
        yield part


def _prepared(files: list[ImageFile], form: Form) -> list[tuple[ImageFile, Record | DataError]]:
    """Files and what is stored of each, or why it cannot be."""
    return [(file, _record(file, form)) for file in files]


def _record(file: ImageFile, form: Form) -> Record | DataError:
    try:
        data = file.read()
    except DataError as error:
        return error
    try:
        return record(file.name, data, file.labels, form)
    except DataError as error:
        return _NoImageError(f"{file.where}: {error}")


def convert(
    files: Sequence[ImageFile],
    out: Path,
    form: Form,
    backend: str = "lmdb",
    shuffle: bool = False,
    seed: int = 0,
    check_size: bool = False,
    skip_damaged: int = 0,
) -> str:
    """Write files into a new database `out`, and return a line on what was written.

    "lmdb": Datums, under keys with the file's place and name. "hdf5": a folder of HDF5 files and their list, as an
    HDF5Data layer reads them. The order is that of the files, or, with `shuffle`, one that `seed` alone decides. Up to
    `skip_damaged` files that are no images are left out. DataError otherwise, with nothing written.
    """
    if backend == "hdf5" and form.encoding:
        raise DataError("HDF5 files hold pixels, not image files: leave encoded and encode_type out")
    if shuffle:
        files = [files[index] for index in permutation(len(files), seed)]
    damaged, progress = Damaged(skip_damaged, "--skip_damaged"), tqdm(files, desc=f"write {out.name}", unit="image")
    with closing(records(progress, form, check_size or backend == "hdf5", damaged)) as found:
        if backend == "hdf5":
            write_hdf5(out, (entry for _, entry in found))
        else:
            write_lmdb(out, ((key(number, entry.name), entry.datum.SerializeToString()) for number, entry in found))
    left_out = f", {damaged.count} left out" if damaged.count else ""
    return f"{out}: {len(files) - damaged.count} images{left_out}"


def census(files: Sequence[ImageFile]) -> str:
    """How many files there are, of which classes, and which are missing; nothing is decoded."""
    counts = Counter(file.labels for file in files if isinstance(file.labels, int))
    first = f"{len(files)} images"
    if counts:
        few, many = min(counts.values()), max(counts.values())
        first += f" of {len(counts)} classes ({min(counts)} to {max(counts)}), {few} to {many} images a class"
    return "\n".join([first, *(f"missing: {file.where}" for file in files if not file.path.is_file())])
