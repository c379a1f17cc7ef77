"""Weight files as plain arrays by layer name: .caffemodel (Caffe's own, all its ages) and .safetensors.

A .caffemodel is decoded with the small messages of ``weights.proto``, never with the whole schema: forks use the same
field numbers for different things, and only names, types and blobs are wanted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import safetensors.numpy
from google.protobuf.message import DecodeError
from safetensors import SafetensorError

from netspec.errors import SnapshotError
from netspec.files import read_whole, write_whole
from netspec.schema.netspec_pb2 import BlobProto, LayerParameter
from netspec.schema.weights_pb2 import WeightsBlob, WeightsFile, WeightsLayer, WeightsShape, WeightsV1Layer

Blobs = dict[str, list[np.ndarray]]
"""The blobs of every layer that has some, by layer name, in Caffe's order."""

_FLOAT16 = 2
"""`raw_data_type` of 16-bit floats, as NVIDIA's fork numbers them."""


def read_weights(path: str | Path) -> Blobs:
    """Read a weights file; SnapshotError where it is missing, damaged, or no weights file."""
    path = Path(path)
    content = read_whole(path)
    if path.suffix == ".safetensors":
        return _read_safetensors(path, content)
    found: Blobs = {}
    try:
        for name, blobs in _layers(content):
            if blobs and name not in found:  # of several layers with one name Caffe takes the first
                found[name] = [_array(blob) for blob in blobs]
    except (DecodeError, ValueError):
        raise SnapshotError(f"{path}: this is no caffemodel, or it is damaged") from None
    return found


def _layers(content: bytes) -> Iterator[tuple[str, Sequence[WeightsBlob]]]:
    """Name and blobs of every layer of a .caffemodel, whatever its age."""
    file = WeightsFile.FromString(content)
    for raw in file.layer:
        layer = WeightsLayer.FromString(raw)
        yield layer.name, layer.blobs
    for raw in file.layers:
        older = WeightsV1Layer.FromString(raw)
        named = older.layer if older.HasField("layer") else older
        yield named.name, named.blobs


def _array(blob: WeightsBlob) -> np.ndarray:
    """A blob's numbers in its shape, as float32 (doubles and 16-bit floats are converted)."""
    if blob.HasField("raw_data"):
        values = np.frombuffer(blob.raw_data, "<f2" if blob.raw_data_type == _FLOAT16 else "<f4")
    elif blob.double_data:
        values = np.frombuffer(blob.double_data, "<f8")
    elif blob.HasField("data"):
        values = np.frombuffer(blob.data, "<f4")
    else:
        values = np.array(BlobProto.FromString(blob.SerializeToString()).data, "<f4")  # written unpacked
    four = (blob.num, blob.channels, blob.height, blob.width)
    shape = tuple(blob.shape.dim) if blob.HasField("shape") else four
    return values.astype(np.float32).reshape(shape)


def _read_safetensors(path: Path, content: bytes) -> Blobs:
    try:
        tensors = safetensors.numpy.load(content)
    except (SafetensorError, KeyError) as error:  # KeyError: a number type that NumPy lacks
        raise SnapshotError(f"{path}: this is no safetensors file, or it is damaged ({error})") from None
    keys = [(layer, index, key) for key in tensors for layer, _, index in [key.rpartition("/")]]
    if strange := [key for _, index, key in keys if not index.isdecimal()]:
        raise SnapshotError(f'{path}: "{strange[0]}" is not of the form LAYER/0, LAYER/1, ...')
    blobs: Blobs = {}
    for layer, _, key in sorted(keys, key=lambda part: (part[0], int(part[1]))):
        blobs.setdefault(layer, []).append(tensors[key])
    return blobs


def write_weights(
    path: str | Path, net: str, layers: Iterable[LayerParameter], blobs: Mapping[str, Sequence[np.ndarray]]
) -> bytes:
    """Write a weights file, whole or not at all; return its SHA-256. SnapshotError where it cannot be written.

    A .caffemodel holds the net's name and every layer's message with its blobs, as Caffe writes it.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        content = safetensors.numpy.save(
            {
                f"{name}/{index}": np.asarray(array, order="C")
                for name in blobs
                for index, array in enumerate(blobs[name])
            }
        )
    else:
        content = _caffemodel(net, layers, blobs)
    write_whole(path, content)
    return hashlib.sha256(content).digest()


def _caffemodel(net: str, layers: Iterable[LayerParameter], blobs: Mapping[str, Sequence[np.ndarray]]) -> bytes:
    """The bytes of a .caffemodel: messages that follow each other in the bytes are one message to a reader."""
    file = WeightsFile(name=net)
    for param in layers:
        arrays = WeightsLayer(blobs=[blob_message(array) for array in blobs.get(param.name, ())])
        file.layer.append(param.SerializeToString() + arrays.SerializeToString())
    return file.SerializeToString()


def blob_message(array: np.ndarray) -> WeightsBlob:
    """An array as the message that Caffe reads as a BlobProto of packed floats."""
    return WeightsBlob(shape=WeightsShape(dim=array.shape), data=np.ascontiguousarray(array, "<f4").tobytes())


def same_shape(stored: Sequence[int], wanted: Sequence[int]) -> bool:
    """Whether a stored blob fits: Caffe's old files pad every shape with ones in front to four dimensions."""
    return _without_leading_ones(stored) == _without_leading_ones(wanted)


def _without_leading_ones(shape: Sequence[int]) -> tuple[int, ...]:
    start = next((index for index, size in enumerate(shape) if size != 1), len(shape))
    return tuple(shape[start:])
