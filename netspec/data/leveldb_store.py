"""LevelDB databases of Datums, in which Caffe stored its sets before LMDB. Needs the package plyvel."""

from __future__ import annotations

import fcntl
import shutil
import stat
import tempfile
import weakref
from pathlib import Path
from typing import Any

from netspec.data.datum_store import DatumStore
from netspec.errors import DataError

_PATTERNS = ("*.ldb", "*.sst", "*.log", "MANIFEST-*")


class LevelDbStore(DatumStore):
    """A LevelDB of Datums, in key order.

    To open a LevelDB is to change it, and one process only may. So a folder of links to its files is opened in its
    place, in which LevelDB makes its new files. Raises DataError where the store is damaged, empty or being written,
    and ImportError where plyvel is not installed.
    """

    def __init__(self, path: Path) -> None:
        import plyvel  # an extra: few sets are in this form

        super().__init__(path, [path / "CURRENT", *_files(path)])
        self._folder = tempfile.mkdtemp(prefix="netspec-leveldb-")
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._errors = (plyvel.Error, OSError)
        try:
            _link(path, Path(self._folder))
            self._database: Any = plyvel.DB(self._folder, paranoid_checks=True)
            # The pass reads every table to its end, and its checksums.
            with self._database.iterator(include_value=False, verify_checksums=True) as keys:
                self._keys: list[bytes] = list(keys)
        except self._errors as error:
            raise self._unreadable(error) from None
        if not self._keys:
            raise DataError(f"{path}: the LevelDB holds no records")

    @property
    def keys(self) -> list[bytes]:
        return self._keys

    def _value(self, key: bytes) -> bytes:
        try:
            return bytes(self._database.get(key, b""))
        except self._errors as error:
            raise self._unreadable(error) from None

    def _unreadable(self, error: Exception) -> DataError:
        reason = error.args[0] if error.args and isinstance(error.args[0], bytes) else str(error).encode()
        cause = reason.decode(errors="replace").replace(self._folder, str(self.path))
        return DataError(f"{self.path}: cannot be read as a LevelDB: {cause}")


def is_leveldb(path: Path) -> bool:
    """Whether a folder has the form of a LevelDB; DataError where that cannot be seen."""
    try:
        return stat.S_ISREG((path / "CURRENT").stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None


def _link(path: Path, folder: Path) -> None:
    """Make `folder` another view of a LevelDB that nobody is writing."""
    if (path / "LOCK").exists():
        with (path / "LOCK").open("rb") as lock:
            try:
                fcntl.lockf(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DataError(f"{path}: another process has the LevelDB open") from None
    shutil.copyfile(path / "CURRENT", folder / "CURRENT")
    files = _files(path.resolve())
    oldest_log = min((_number(file) for file in files if file.suffix == ".log"), default=0)
    for file in files:
        # A new file may take the name of one that was not entered in the manifest: those are younger than the logs.
        if file.name.startswith("MANIFEST") or (file.suffix != ".log" and _number(file) > oldest_log):
            shutil.copyfile(file, folder / file.name)
        else:
            (folder / file.name).symlink_to(file)


def _files(path: Path) -> list[Path]:
    return sorted(file for pattern in _PATTERNS for file in path.glob(pattern))


def _number(file: Path) -> int:
    return int(file.stem) if file.stem.isdecimal() else 0
