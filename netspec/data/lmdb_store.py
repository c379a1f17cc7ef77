"""LMDB databases of Datums, as Caffe's Data layer reads them: opened with care, written whole or not at all."""

from __future__ import annotations

import os
import shutil
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from functools import cached_property
from itertools import islice
from pathlib import Path
from threading import RLock

import lmdb

from netspec.data.class_folder import holds_images
from netspec.data.datum_store import DatumStore
from netspec.errors import DataError
from netspec.files import free_on_disk, sync_folder

_FIRST_MAP_SIZE = 1 << 24
_RECORDS_A_COMMIT = 1000

_File = tuple[int, int]  # device and inode

# The lmdb binding refuses to open a file twice in one process, but a train net and a test net may read the same one:
# its stores share an environment, which is closed when the last of them goes.
_environments: dict[_File, lmdb.Environment] = {}
_stores: Counter[_File] = Counter()
_lock = RLock()  # the garbage collector may let a store go while another is opened, in the same thread or not


class LmdbStore(DatumStore):
    """An LMDB of Datums, in key order: a folder with a data.mdb, or the file itself.

    Raises DataError where the store is missing, is no LMDB, is empty or is cut short.
    """

    def __init__(self, path: Path) -> None:
        file = _data_file(path)
        super().__init__(path, [file])
        self._environment = _environment_for(self, file)
        self._size = file.stat().st_size
        _refuse_cut(self._environment, file, self._size)
        self._count = int(self._environment.stat()["entries"])
        if not self._count:
            raise DataError(f"{path}: the LMDB holds no records")
        if self._count > self._size:
            raise DataError(f"{file} is damaged: {self._count} records in {self._size} bytes")

    def __len__(self) -> int:
        return self._count

    @cached_property
    def keys(self) -> list[bytes]:
        """Every record's key, in order."""
        with self._reading() as transaction:
            keys = [bytes(key) for key in transaction.cursor().iternext(keys=True, values=False)]
        if len(keys) != self._count:
            raise DataError(f"{self.path} is damaged: {len(keys)} records are there, and {self._count} by its header")
        return keys

    @cached_property
    def digest(self) -> str:
        """A text that changes with the keys, their order and the size of the file."""
        return f"{super().digest} {self._size}"

    def _value(self, key: bytes) -> bytes:
        with self._reading() as transaction:
            value = transaction.get(key, b"")
            if len(value) > self._size:
                raise DataError(f"{self.path} is damaged: a record of {len(value)} bytes, the file has {self._size}")
            return bytes(value)

    @contextmanager
    def _reading(self) -> Iterator[lmdb.Transaction]:
        """A look at the database as it lies in memory; DataError where that makes no sense."""
        try:
            with self._environment.begin(buffers=True) as transaction:
                yield transaction
        except (lmdb.Error, OverflowError) as error:
            raise DataError(f"{self.path} is damaged: {error}; copy or make it again") from None


def write_lmdb(path: str | Path, records: Iterable[tuple[bytes, bytes]]) -> None:
    """Write keys, in ascending order, and values as an LMDB folder that appears at `path` only once it is whole.

    Raises DataError where `path` exists, a key is out of order, or the disk is full.
    """
    path = Path(path)
    if path.exists():
        raise DataError(f"{path} already exists; remove it or write elsewhere")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with _naming(path):
            path.parent.mkdir(parents=True, exist_ok=True)
        _fill(temporary, path, iter(records))
        with _naming(path):
            temporary.rename(path)
            sync_folder(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _data_file(path: Path) -> Path:
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    file = path / "data.mdb" if path.is_dir() else path
    if not file.exists():
        found = " but a LevelDB, which a Data layer reads" if (path / "CURRENT").exists() else ""
        if holds_images(path):
            found = " but a folder of images, which an ImageData layer reads"
        raise DataError(f"{path} holds no data.mdb, so it is no LMDB{found}")
    if not file.stat().st_size:
        raise DataError(f"{file} is empty (0 bytes)")
    return file


def _environment_for(store: LmdbStore, file: Path) -> lmdb.Environment:
    """The environment of a file, open for as long as the store lives."""
    status = file.stat()
    key = (status.st_dev, status.st_ino)
    with _lock:
        _stores[key] += 1
        weakref.finalize(store, _leave, key).atexit = False
        if key not in _environments:
            try:
                _environments[key] = lmdb.open(str(file), subdir=False, readonly=True, lock=False, readahead=True)
            except lmdb.Error as error:
                raise DataError(f"{store.path}: cannot be opened as an LMDB: {error}") from None
        return _environments[key]


def _leave(key: _File) -> None:
    """A store of that file is gone."""
    with _lock:
        _stores[key] -= 1
        if not _stores[key]:
            del _stores[key]
            if environment := _environments.pop(key, None):
                environment.close()


def _refuse_cut(environment: lmdb.Environment, file: Path, size: int) -> None:
    """A page that the file no longer has would end the process with SIGBUS when it is read."""
    needed = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    if size < needed:
        raise DataError(f"{file} is cut short: {size} bytes of {needed}; copy or make it again")


def _fill(folder: Path, path: Path, records: Iterator[tuple[bytes, bytes]]) -> None:
    with _naming(path):
        environment = lmdb.open(str(folder), map_size=_FIRST_MAP_SIZE, sync=False, lock=False)
    with closing(environment):
        while batch := list(islice(records, _RECORDS_A_COMMIT)):
            with _naming(path):
                while not _commit(environment, batch):
                    environment.set_mapsize(2 * environment.info()["map_size"])
        with _naming(path):
            environment.sync(True)
            sync_folder(folder)


def _commit(environment: lmdb.Environment, batch: list[tuple[bytes, bytes]]) -> bool:
    """Write a batch; False where the map is too small for it."""
    try:
        with environment.begin(write=True) as transaction:
            for key, value in batch:
                if not transaction.put(key, value, append=True):
                    raise DataError(f"key {key!r} does not follow the one before it in ascending order")
    except lmdb.MapFullError:
        return False
    return True


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turn what the system reports into one message with the path and the room that is left."""
    try:
        yield
    except (lmdb.Error, OSError) as error:
        raise DataError(f"{path}: cannot be written: {error} ({free_on_disk(path)} bytes are free there)") from None
