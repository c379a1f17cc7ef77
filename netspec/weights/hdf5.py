"""Reads and writes .caffemodel.h5 files: Caffe's HDF5 layout.

Blob i of a layer is the dataset /data/LAYER/i; a blob that several layers share is stored with its owner alone. A "/"
in a layer's name makes nested groups. Diffs, of shared blobs too, are /diff/LAYER/i; they are not read.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable

import h5py
import numpy as np

from netspec.errors import SnapshotError
from netspec.schema.netspec_pb2 import LayerParameter
from netspec.weights.stored import Arrays, Blobs, by_layer

SIGNATURE = b"\x89HDF\r\n\x1a\n"
"""The first bytes of an HDF5 file."""

_MOST_COMPRESSED = 2000
"""A dataset that is this many times larger than its file is no honest one: gzip reaches half of it."""


def decode(path: object, content: bytes) -> Blobs:
    """The blobs of a .caffemodel.h5; SnapshotError, with the path, where it is damaged or none."""
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            data = file.get("data")
            entries = datasets(data, len(content)) if isinstance(data, h5py.Group) else None
    except (OSError, KeyError, RuntimeError, TypeError, ValueError, OverflowError, MemoryError) as error:
        reason = str(error).partition("\n")[0][:120]
        raise SnapshotError(f"{path}: this is no HDF5 file of weights, or it is damaged ({reason})") from None
    if entries is None:
        raise SnapshotError(f"{path}: this is no HDF5 file of Caffe's weights: they are in a group /data")
    try:
        return by_layer(entries)
    except ValueError as error:
        raise SnapshotError(f"{path}: {error}") from None


def datasets(group: h5py.Group, file_size: int) -> dict[str, np.ndarray]:
    """All arrays below a group by their path from it. Links into other files are not followed."""
    found: dict[str, np.ndarray] = {}

    def visit(name: str | bytes, item: object) -> None:
        if isinstance(name, bytes):
            raise ValueError("a name is not UTF-8")
        if isinstance(item, h5py.Dataset):
            if item.nbytes > _MOST_COMPRESSED * file_size or item.external:
                raise ValueError(f"the numbers of {name} are not in the file")
            found[name] = np.asarray(item[()], np.float32)

    group.visititems(visit)
    return found


def encode(
    layers: Iterable[LayerParameter], blobs: Arrays, diffs: Arrays, shared: Collection[tuple[str, int]]
) -> bytes:
    """The bytes of a .caffemodel.h5; ValueError for a layer's name that HDF5 cannot hold.

    `shared` has layer and index of the blobs that another layer owns; they are left out.
    """
    names = list(dict.fromkeys([*(param.name for param in layers), *blobs]))
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        _add(file.create_group("data"), names, blobs, shared)
        if diffs:
            _add(file.create_group("diff"), names, diffs, ())
    return content.getvalue()


def _add(group: h5py.Group, names: Iterable[str], arrays: Arrays, left_out: Collection[tuple[str, int]]) -> None:
    """Add a group for every layer, with a dataset for every array of it but those left out."""
    for name in names:
        try:
            if any(part in ("", ".") for part in name.split("/")) or "\0" in name:
                raise ValueError("HDF5 would read it as another name")
            layer = group.require_group(name)
            for index, array in enumerate(arrays.get(name, ())):
                if (name, index) not in left_out:
                    layer.create_dataset(str(index), data=np.asarray(array, "<f4", order="C"))
        except (ValueError, TypeError) as error:  # TypeError: the dataset of another layer has this name
            raise ValueError(f'the layer name "{name}" cannot be one in HDF5: {error}') from None
