"""Data: the batches that a net is fed with. Importing this package registers every data layer type."""

from netspec.data.database import Data
from netspec.data.dummy import DummyData
from netspec.data.hdf5 import HDF5Data
from netspec.data.image_list import ImageData
from netspec.data.lmdb_store import LmdbStore, write_lmdb
from netspec.data.mean import compute_mean, read_mean, write_mean
from netspec.data.memory import MemoryData
from netspec.data.window import WindowData

__all__ = [
    "Data",
    "DummyData",
    "HDF5Data",
    "ImageData",
    "LmdbStore",
    "MemoryData",
    "WindowData",
    "compute_mean",
    "read_mean",
    "write_lmdb",
    "write_mean",
]
