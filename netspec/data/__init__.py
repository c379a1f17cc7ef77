"""Data: the batches that a net is fed with. Importing this package registers every data layer type."""

from netspec.data.feed import Feed
from netspec.data.lmdb_store import LmdbStore, write_lmdb
from netspec.data.mean import compute_mean, read_mean, write_mean

__all__ = ["Feed", "LmdbStore", "compute_mean", "read_mean", "write_lmdb", "write_mean"]
