"""Reads and writes .safetensors files: blob i of a layer is the tensor "LAYER/i"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from netspec.errors import SnapshotError
from netspec.weights.stored import Blobs, by_layer


def decode(path: object, content: bytes) -> Blobs:
    """The blobs of a .safetensors; SnapshotError, with the path, where it is damaged, none, or of another program."""
    try:
        tensors = safetensors.numpy.load(content)
    except (SafetensorError, KeyError) as error:  # KeyError: a number type that NumPy lacks
        raise SnapshotError(f"{path}: this is no safetensors file, or it is damaged ({error})") from None
    try:
        return by_layer({key: tensor.astype(np.float32, copy=False) for key, tensor in tensors.items()})
    except ValueError as error:
        raise SnapshotError(f"{path}: {error}") from None


def has_header(content: bytes) -> bool:
    """Whether what follows the size of the header, a number of 8 bytes, can be one."""
    return content[8:9] == b"{"


def encode(blobs: Mapping[str, Sequence[np.ndarray]]) -> bytes:
    """The bytes of a .safetensors; a blob that layers share is in it once for each."""
    arrays = {f"{name}/{index}": array for name in blobs for index, array in enumerate(blobs[name])}
    return safetensors.numpy.save({key: np.asarray(array, order="C") for key, array in arrays.items()})
