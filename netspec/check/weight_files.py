"""Checks a weights file: what it holds, and what of it fits a net."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import h5py
import numpy as np
import safetensors

from netspec.blobs import misfit
from netspec.check.build import Built
from netspec.check.findings import ERROR, NOTE, TRAP, Report
from netspec.errors import SnapshotError, SpecError
from netspec.loading import some
from netspec.schema.weights_pb2 import WeightsBlob, WeightsFile, WeightsLayer, WeightsV1Layer
from netspec.weights import Blobs, read_weights

SUFFIXES = (".caffemodel", ".h5", ".safetensors")

_RAW_TYPES = {0: "float64", 1: "float32", 2: "float16", 3: "int32", 4: "uint32"}


def check_weights(path: Path) -> tuple[Report, Blobs]:
    """The report on a weights file, and its blobs."""
    report = Report(str(path), "weights")
    try:
        blobs = read_weights(path)
    except SnapshotError as error:
        report.add(ERROR, SpecError(str(error).removeprefix(f"{path}: "), str(path)))
        return report, {}
    report.dialect.append(_form(path))
    count = sum(array.size for arrays in blobs.values() for array in arrays if array is not None)
    types = ", ".join(sorted(set(_number_types(path))))
    report.facts.append(f"{_layers(len(blobs))} with blobs, {count:,} numbers ({types})")
    report.facts += _definition(path)
    width = max(map(len, blobs), default=0)
    report.facts += [f"{name.ljust(width)}  {_shapes(arrays)}" for name, arrays in blobs.items()]
    for name, arrays in blobs.items():
        report.add(TRAP, *_bad_numbers(path, name, arrays))
        report.add(TRAP, *_statistics(path, name, arrays))
    return report, blobs


def _layers(count: int) -> str:
    return f"{count} layer{'' if count == 1 else 's'}"


def _form(path: Path) -> str:
    if path.suffix == ".h5":
        return "HDF5"
    if path.suffix == ".safetensors":
        return "safetensors"
    file = WeightsFile.FromString(path.read_bytes())
    if not file.layers:
        return "today's form"
    return "V0 layers" if WeightsV1Layer.FromString(file.layers[0]).HasField("layer") else "V1 layers"


def _definition(path: Path) -> list[str]:
    """The net that a .caffemodel holds beside its blobs, in words."""
    if path.suffix != ".caffemodel":
        return []
    file = WeightsFile.FromString(path.read_bytes())
    types = Counter(WeightsLayer.FromString(raw).type for raw in file.layer)
    layers = len(file.layer) + len(file.layers)
    if not file.layers and set(types) == {""}:
        return ["no net definition: names and blobs only"]
    return [f'the definition of the net "{file.name}": {_layers(layers)}']


def _number_types(path: Path) -> Iterator[str]:
    """The number type of every blob, as it is stored."""
    if path.suffix == ".h5":
        with h5py.File(path, "r") as file:
            found: list[str] = []
            file["data"].visititems(lambda _, item: found.append(str(getattr(item, "dtype", ""))))
        yield from filter(None, found)
    elif path.suffix == ".safetensors":
        with safetensors.safe_open(path, "np") as tensors:
            yield from (str(tensors.get_slice(key).get_dtype()) for key in tensors.keys())  # noqa: SIM118
    else:
        yield from map(_number_type, _stored_blobs(WeightsFile.FromString(path.read_bytes())))


def _stored_blobs(file: WeightsFile) -> Iterator[WeightsBlob]:
    for raw in file.layer:
        yield from map(WeightsBlob.FromString, WeightsLayer.FromString(raw).blobs)
    for raw in file.layers:
        older = WeightsV1Layer.FromString(raw)
        yield from map(WeightsBlob.FromString, older.layer.blobs if older.HasField("layer") else older.blobs)


def _number_type(blob: WeightsBlob) -> str:
    if blob.HasField("raw_data"):
        return _RAW_TYPES[blob.raw_data_type]
    return "float64" if blob.double_data else "float32"


def _shapes(arrays: Iterable[np.ndarray | None]) -> str:
    return ", ".join("shared" if array is None else "x".join(map(str, array.shape)) or "1" for array in arrays)


def _bad_numbers(path: Path, name: str, arrays: Iterable[np.ndarray | None]) -> Iterator[SpecError]:
    for index, array in enumerate(arrays):
        if array is not None and not np.isfinite(array).all():
            yield SpecError(f'layer "{name}": blob {index} holds numbers that are not finite', str(path))


def _statistics(path: Path, name: str, arrays: list[np.ndarray | None]) -> Iterator[SpecError]:
    """The sums of a BatchNorm and their weight c, known by their shapes."""
    if len(arrays) not in (3, 5) or any(array is None for array in arrays):
        return
    mean, variance, weight = (np.asarray(array) for array in arrays[:3])
    if weight.size != 1 or mean.size != variance.size or weight.any():
        return
    if mean.any() or variance.any():
        reason = "its statistics have the weight 0, as NVIDIA's fork writes them; Caffe would take 0, netspec takes 1"
    else:
        reason = "its statistics were never trained: TEST multiplies by 316"
    yield SpecError(f'layer "{name}": {reason}', str(path))


def compare(report: Report, blobs: Blobs, net: str, built: Built) -> None:
    """Add what a run of a net would take from a weights file: copied, absent, left over; what does not fit is
    refused."""
    if built.compiled is None:
        return
    layers = {layer.node.name: layer.module for layer in built.compiled.layers if layer.module.blob_names}
    copied = []
    for name in [name for name in layers if name in blobs]:
        own = layers[name].blobs()
        stored = [own[i] if array is None and i < len(own) else array for i, array in enumerate(blobs[name])]
        if problem := misfit(name, own, stored):
            report.add(ERROR, SpecError(f"{problem} (here: {net})", report.file))
        else:
            copied.append(name)
    absent = [name for name in layers if name not in blobs]
    left_over = [name for name in blobs if name not in layers]
    report.facts.append(f"into {net}, {built.state.phase}: {len(copied)} of {_layers(len(layers))} copied")
    if layers and len(absent) == len(layers):
        report.add(ERROR, SpecError(f"no layer of {net} is in it", report.file))
    elif absent:
        reason = f"{_layers(len(absent))} of {net} not in it, filled as the net says: {some(absent)}"
        report.add(NOTE, SpecError(reason, report.file))
    if left_over:
        report.facts.append(f"left over: {some(left_over)} ({_layers(len(left_over))})")
