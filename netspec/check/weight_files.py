"""Checks a weights file: what it holds, and what of it fits a net."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from netspec.blobs import misfit
from netspec.check.build import Built
from netspec.check.findings import ERROR, NOTE, TRAP, Report, counted
from netspec.check.storage import storage
from netspec.errors import SnapshotError, SpecError
from netspec.loading import some
from netspec.weights import Blobs, read_weights

SUFFIXES = (".caffemodel", ".h5", ".safetensors")


def check_weights(path: Path) -> tuple[Report, Blobs]:
    """The report on a weights file, and its blobs."""
    report = Report(str(path))
    try:
        blobs = read_weights(path)
    except SnapshotError as error:
        report.add(ERROR, SpecError(str(error).removeprefix(f"{path}: "), str(path)))
        return report, {}
    stored = storage(path)
    report.kind, report.dialect = "weights", [stored.form]
    count = sum(array.size for arrays in blobs.values() for array in arrays if array is not None)
    report.facts.append(f"{counted(len(blobs), 'layer')} with blobs, {count:,} numbers ({', '.join(stored.types)})")
    report.facts += filter(None, [stored.definition])
    width = max(map(len, blobs), default=0)
    report.facts += [f"{name.ljust(width)}  {_shapes(arrays)}" for name, arrays in blobs.items()]
    for name, arrays in blobs.items():
        report.add(TRAP, *_bad_numbers(path, name, arrays))
        report.add(TRAP, *_statistics(path, name, arrays))
    return report, blobs


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
    report.facts.append(f"into {net}, {built.state.phase}: {len(copied)} of {counted(len(layers), 'layer')} copied")
    if layers and len(absent) == len(layers):
        report.add(ERROR, SpecError(f"no layer of {net} is in it", report.file))
    elif absent:
        reason = f"{counted(len(absent), 'layer')} of {net} not in it, filled as the net says: {some(absent)}"
        report.add(NOTE, SpecError(reason, report.file))
    if left_over:
        report.facts.append(f"left over: {some(left_over)} ({counted(len(left_over), 'layer')})")
