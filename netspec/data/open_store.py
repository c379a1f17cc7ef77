"""Databases of Datums of either kind, by what lies on the disk."""

from __future__ import annotations

from pathlib import Path

from netspec.data.datum_store import DatumStore
from netspec.data.leveldb_store import LevelDbStore, is_leveldb
from netspec.data.lmdb_store import LmdbStore
from netspec.errors import DataError


def open_store(path: Path) -> DatumStore:
    """The LevelDB or the LMDB at a place. DataError where there is none, or it needs what is not installed."""
    if not is_leveldb(path):
        return LmdbStore(path)
    try:
        return LevelDbStore(path)
    except ImportError:
        reason = (
            f"{path}: reading a LevelDB needs plyvel: pip install 'netspec[leveldb]'; or, where plyvel is: "
            "netspec.data.write_lmdb('lmdb', plyvel.DB('leveldb').iterator())"
        )
        raise DataError(reason) from None
