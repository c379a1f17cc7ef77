"""Reads and writes .caffemodel files, Caffe's own, of all ages.

They are decoded with the small messages of ``weights.proto``, never with the whole schema: forks use the same field
numbers for different things, and only names, types and blobs are wanted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest

import numpy as np
from google.protobuf.message import DecodeError

from netspec.errors import SnapshotError
from netspec.schema.netspec_pb2 import BlobProto, LayerParameter
from netspec.schema.weights_pb2 import WeightsBlob, WeightsFile, WeightsLayer, WeightsShape, WeightsV1Layer
from netspec.weights.stored import Arrays, Blobs

_RAW_TYPES = {0: "<f8", 1: "<f4", 2: "<f2", 3: "<i4", 4: "<u4"}
"""What `raw_data_type` means, as NVIDIA's fork numbers it; its default is 0."""

_MOST_AXES = 32
"""Of a blob in Caffe."""


def decode(path: object, content: bytes) -> Blobs:
    """The blobs of a .caffemodel; SnapshotError, with the path, where it is damaged or none.

    Of several layers of one name the last counts: Caffe copies them one after the other.
    """
    found: Blobs = {}
    try:
        file = WeightsFile.FromString(content)
        for name, blobs in _layers(file):
            check_texts(name)
            if blobs:
                found[name] = _arrays(path, name, blobs)
    except (DecodeError, ValueError):
        raise SnapshotError(f"{path}: this is no caffemodel, or it is damaged") from None
    if not file.layer and not file.layers:
        raise SnapshotError(f"{path}: this is no caffemodel, or it is damaged: no layer is in it")
    return found


def _layers(file: WeightsFile) -> Iterator[tuple[str, Sequence[bytes]]]:
    """Name and blobs of every layer, whatever the file's age."""
    for raw in file.layer:
        layer = WeightsLayer.FromString(raw)
        yield layer.name, layer.blobs
    for raw in file.layers:
        older = WeightsV1Layer.FromString(raw)
        named = older.layer if older.HasField("layer") else older
        yield named.name, named.blobs


def check_texts(*texts: str) -> None:
    """ValueError where one is not UTF-8: protobuf gives its bytes."""
    if any(isinstance(text, bytes) for text in texts):
        raise ValueError("a text that is not UTF-8")


def _arrays(path: object, layer: str, blobs: Sequence[bytes]) -> list[np.ndarray | None]:
    arrays: list[np.ndarray | None] = []
    for blob in blobs:
        try:
            arrays.append(_array(blob))
        except (DecodeError, ValueError) as error:
            reason = "cannot be read" if isinstance(error, DecodeError) else error
            raise SnapshotError(f'{path}: damaged: blob {len(arrays)} of layer "{layer}" {reason}') from None
    return arrays


def _array(raw: bytes) -> np.ndarray:
    """A blob's numbers in its shape, as float32 (other types are converted); ValueError says what is wrong with it."""
    blob = WeightsBlob.FromString(raw)
    shape = stored_shape(blob)
    values = _raw_values(blob) if blob.HasField("raw_data") else _values(blob, raw, shape)
    if shape is None:
        shape = values.shape
    if min(shape, default=1) < 0 or len(shape) > _MOST_AXES:
        raise ValueError(f"has the shape {shape[:_MOST_AXES]}")
    if values.size != math.prod(shape):
        raise ValueError(f"has {values.size} of {math.prod(shape)} numbers")
    with np.errstate(over="ignore"):  # a double may be too large for a float
        return values.astype(np.float32).reshape(shape)


def stored_shape(blob: WeightsBlob) -> tuple[int, ...] | None:
    """A blob's shape; None where neither a shape nor one of the four old sizes is given."""
    if blob.HasField("shape"):
        return tuple(blob.shape.dim)
    given = any(blob.HasField(name) for name in ("num", "channels", "height", "width"))
    return (blob.num, blob.channels, blob.height, blob.width) if given else None


def _raw_values(blob: WeightsBlob) -> np.ndarray:
    if blob.raw_data_type not in _RAW_TYPES:
        raise ValueError(f"has numbers of the unknown type {blob.raw_data_type}")
    return _numbers(blob.raw_data, _RAW_TYPES[blob.raw_data_type])


def _values(blob: WeightsBlob, raw: bytes, shape: tuple[int, ...] | None) -> np.ndarray:
    """The numbers of `double_data` or else of `data`: packed, one by one, or both."""
    packed = _numbers(b"".join(blob.double_data or blob.data), "<f8" if blob.double_data else "<f4")
    if packed.size and (shape is None or packed.size == math.prod(shape)):
        return packed
    whole = BlobProto.FromString(raw)  # slower, but takes the numbers in every form, in their order
    return np.array(whole.double_data or whole.data, "<f8" if whole.double_data else "<f4")


def _numbers(content: bytes, kind: str) -> np.ndarray:
    if len(content) % np.dtype(kind).itemsize:
        raise ValueError("ends inside a number")
    return np.frombuffer(content, kind)


def encode(net: str, layers: Iterable[LayerParameter], blobs: Arrays, diffs: Arrays) -> bytes:
    """The bytes of a .caffemodel: the net's name, and every layer's message with its blobs and, where there are some,
    their diffs, as Caffe writes it."""
    file = WeightsFile(name=net)
    for param in layers:
        pairs = zip_longest(blobs.get(param.name, ()), diffs.get(param.name, ()))
        arrays = WeightsLayer(blobs=[blob_message(array, diff).SerializeToString() for array, diff in pairs])
        # Messages that follow each other in the bytes are one message to a reader.
        file.layer.append(param.SerializeToString() + arrays.SerializeToString())
    return file.SerializeToString()


def blob_message(array: np.ndarray, diff: np.ndarray | None = None) -> WeightsBlob:
    """An array, and its diff, as the message that Caffe reads as a BlobProto of packed floats."""
    blob = WeightsBlob(shape=WeightsShape(dim=array.shape), data=[_packed(array)])
    if diff is not None:
        blob.diff.append(_packed(diff))
    return blob


def _packed(array: np.ndarray) -> bytes:
    return np.ascontiguousarray(array, "<f4").tobytes()
