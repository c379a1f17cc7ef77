"""How a weights file stores its blobs: its form, its types of numbers, and the definition of a net beside them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import h5py
import safetensors

from netspec.check.findings import counted
from netspec.schema.weights_pb2 import WeightsBlob, WeightsFile, WeightsLayer, WeightsV1Layer
from netspec.weights.hdf5 import SIGNATURE

_RAW_TYPES = {0: "float64", 1: "float32", 2: "float16", 3: "int32", 4: "uint32"}


@dataclass(frozen=True)
class Storage:
    """`definition` says in words which net a .caffemodel holds beside its blobs."""

    form: str
    types: list[str]
    definition: str = ""


def storage(path: Path) -> Storage:
    """How a weights file that can be read stores its blobs."""
    with path.open("rb") as file:
        is_hdf5 = file.read(len(SIGNATURE)) == SIGNATURE
    if is_hdf5:
        return Storage("HDF5", sorted(set(_hdf5_types(path))))
    if path.suffix == ".safetensors":
        with safetensors.safe_open(path, "np") as tensors:
            return Storage("safetensors", sorted({str(tensors.get_slice(key).get_dtype()) for key in tensors.keys()}))  # noqa: SIM118
    return _caffemodel(WeightsFile.FromString(path.read_bytes()))


def _hdf5_types(path: Path) -> list[str]:
    found: list[str] = []
    with h5py.File(path, "r") as file:
        file["data"].visititems(lambda _, item: found.append(str(item.dtype)) if hasattr(item, "dtype") else None)
    return found


def _caffemodel(file: WeightsFile) -> Storage:
    layers = [WeightsLayer.FromString(raw) for raw in file.layer]
    older = [WeightsV1Layer.FromString(raw) for raw in file.layers]
    form = "today's form"
    if older:
        form = "V0 layers" if older[0].HasField("layer") else "V1 layers"
    blobs = [blob for layer in layers for blob in layer.blobs]
    blobs += [blob for layer in older for blob in (layer.layer.blobs if layer.HasField("layer") else layer.blobs)]
    definition = f'the definition of the net "{file.name}": {counted(len(layers) + len(older), "layer")}'
    if not older and not any(layer.type for layer in layers):
        definition = "no net definition: names and blobs only"
    return Storage(form, sorted({_number_type(WeightsBlob.FromString(blob)) for blob in blobs}), definition)


def _number_type(blob: WeightsBlob) -> str:
    if blob.HasField("raw_data"):
        return _RAW_TYPES[blob.raw_data_type]
    return "float64" if blob.double_data else "float32"
