"""Weight files as plain arrays by layer name: Caffe's .caffemodel and .caffemodel.h5, and .safetensors."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from pathlib import Path
from types import MappingProxyType

from netspec.errors import SnapshotError
from netspec.files import read_whole, write_whole
from netspec.schema.netspec_pb2 import LayerParameter
from netspec.weights import caffemodel, hdf5, safetensors
from netspec.weights.caffemodel import blob_message
from netspec.weights.stored import Arrays, Blobs, same_shape

__all__ = ["Blobs", "blob_message", "file_names", "read_weights", "same_shape", "write_weights"]

_PICKLES = (b"PK\x03\x04", *(b"\x80" + bytes([protocol]) for protocol in range(2, 6)))
"""How the files of torch.save and of numpy.savez begin: a zip archive, or a pickle."""


def read_weights(path: str | Path) -> Blobs:
    """Read a weights file; SnapshotError where it is missing, damaged, or no weights file.

    As in Caffe an HDF5 file is known by its content. Nothing is ever unpickled: that could run what is in a file.
    """
    path = Path(path)
    content = read_whole(path)
    if path.suffix == ".safetensors" and safetensors.has_header(content):  # its first bytes may be those of a pickle
        return safetensors.decode(path, content)
    if content.startswith(_PICKLES):
        reason = "a pickle or zip archive, as torch.save writes; it could run code, so it is not opened"
        raise SnapshotError(f"{path}: {reason}: store it as .safetensors, each blob as LAYER/0, LAYER/1, ...")
    if path.suffix == ".h5" or content.startswith(hdf5.SIGNATURE):
        return hdf5.decode(path, content)
    if path.suffix == ".safetensors":
        return safetensors.decode(path, content)
    return caffemodel.decode(path, content)


def write_weights(
    path: str | Path,
    net: str,
    layers: Iterable[LayerParameter],
    blobs: Arrays,
    shared: Collection[tuple[str, int]] = (),
    diffs: Arrays = MappingProxyType({}),
) -> bytes:
    """Write a weights file, whole or not at all; return its SHA-256.

    The suffix chooses the format. `shared` has layer and index of every blob that another layer owns: HDF5 files leave
    them out. `diffs` has a diff of the shape of every blob, or nothing. SnapshotError where the suffix is none of the
    formats', or the format cannot hold what there is, or the file cannot be written.
    """
    path = Path(path)
    try:
        content = _encoded(path.suffix, net, layers, blobs, diffs, shared)
    except ValueError as error:
        raise SnapshotError(f"{path}: cannot be written: {error}") from None
    write_whole(path, content)
    return hashlib.sha256(content).digest()


def _encoded(
    suffix: str,
    net: str,
    layers: Iterable[LayerParameter],
    blobs: Arrays,
    diffs: Arrays,
    shared: Collection[tuple[str, int]],
) -> bytes:
    if suffix == ".caffemodel":
        return caffemodel.encode(net, layers, blobs, diffs)
    if suffix == ".h5":
        return hdf5.encode(layers, blobs, diffs, shared)
    if suffix == ".safetensors":
        if diffs:
            raise ValueError("a .safetensors file has no place for diffs; .caffemodel and .caffemodel.h5 have")
        return safetensors.encode(blobs)
    raise ValueError(f'the suffix "{suffix}" is none of .caffemodel, .caffemodel.h5 and .safetensors')


def file_names(text: str | Path) -> list[str]:
    """The weights files that a text names with commas between them; a Path is one file, whatever its name."""
    names = [str(text)] if isinstance(text, Path) else [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise SnapshotError(f'"{text}" names no weights file')
    return names
