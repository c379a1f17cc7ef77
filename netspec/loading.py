"""Copies the blobs of weights files into the layers of a net, by name and by Caffe's rules of what fits."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from netspec.blobs import Param, misfit
from netspec.errors import SnapshotError
from netspec.layers import Layer
from netspec.layers.normalization import BatchNorm
from netspec.log import logger
from netspec.weights import Blobs, file_names, read_weights

_Copies = dict[str, list[tuple[Tensor, np.ndarray]]]
"""By layer name, what is to be copied into which blob."""


@dataclass(frozen=True)
class LoadReport:
    """What `Net.load` did, by layer name: copied; in the net only; in the files only.

    A layer that a file leaves out because all its blobs belong to other layers is in none of the three.
    """

    copied: list[str]
    absent: list[str]
    left_over: list[str]


def shared_blobs(layers: Mapping[str, Layer], params: Iterable[Param]) -> set[tuple[str, int]]:
    """Layer and index of every blob that belongs to another layer."""
    owned = {(param.layer, id(param.tensor)) for param in params}
    blobs = [(name, index, blob) for name, layer in layers.items() for index, blob in enumerate(layer.blobs())]
    return {(name, index) for name, index, blob in blobs if (name, id(blob)) not in owned}


def load(
    layers: Mapping[str, Layer], shared: Collection[tuple[str, int]], paths: str | Path, strict: bool, whole: bool
) -> LoadReport:
    """Copy blobs from weights files, named with commas between them, into layers with blobs; later files win.

    `shared` has layer and index of the blobs that belong to another layer, which HDF5 files leave out. SnapshotError,
    with nothing copied, as `Net.load` says.
    """
    copies: _Copies = {}
    stored_names: list[str] = []
    for path in file_names(paths):
        stored = read_weights(path)
        copies |= _fitting(path, layers, shared, stored, strict)
        stored_names += [name for name in stored if name not in stored_names]
    report = LoadReport(
        copied=[name for name in layers if name in copies],
        absent=[name for name in layers if name not in copies and _owned(name, layers[name], shared)],
        left_over=[name for name in stored_names if name not in layers],
    )
    if whole and report.absent:
        raise SnapshotError(f"{paths}: weights of another net: they lack {some(report.absent)}")
    with torch.no_grad():
        for pairs in copies.values():
            for blob, array in pairs:
                blob.copy_(torch.from_numpy(array).reshape(blob.shape))
    _remark({name: layers[name].loaded() for name in report.copied})
    return report


def _fitting(
    path: str, layers: Mapping[str, Layer], shared: Collection[tuple[str, int]], stored: Blobs, strict: bool
) -> _Copies:
    """What of one file goes where; SnapshotError where no layer of the net is in it, or with `strict` one misfits."""
    copies: _Copies = {}
    known = [name for name in layers if name in stored]
    if layers and not known:
        counterpart = f"it has {some(stored)}; the net {some(layers)}"
        raise SnapshotError(f"{path}: no layer of this net is in it ({counterpart})")
    for name in known:
        blobs = layers[name].blobs()
        arrays = _completed(name, blobs, stored[name], shared)
        problem = misfit(name, blobs, arrays)
        if not problem:
            pairs = zip(blobs, arrays, strict=True)
            copies[name] = [(blob, array) for blob, array in pairs if isinstance(array, np.ndarray)]
        elif strict:
            raise SnapshotError(f"{path}: {problem}{_hint(layers[name], arrays)}")
    return copies


def _owned(name: str, layer: Layer, shared: Collection[tuple[str, int]]) -> bool:
    """Whether a layer has a blob that is no other layer's."""
    return any((name, index) not in shared for index in range(len(layer.blob_names)))


def _completed(
    name: str, blobs: Sequence[Tensor], stored: Sequence[np.ndarray | None], shared: Collection[tuple[str, int]]
) -> list[Tensor | np.ndarray]:
    """Stored blobs, with the net's own where the file leaves a shared one to its owner; a missing one ends the list."""
    arrays: list[Tensor | np.ndarray] = []
    for index in range(max(len(blobs), len(stored))):
        array = stored[index] if index < len(stored) else None
        if array is None and (name, index) not in shared:
            break
        arrays.append(blobs[index] if array is None else array)
    return arrays


def _hint(layer: Layer, arrays: Sequence[Tensor | np.ndarray]) -> str:
    """What to do about blobs that do not fit, where that can be said."""
    blobs = layer.blobs()
    if isinstance(layer, BatchNorm) and (len(blobs), len(arrays)) == (3, 5):
        return ", scale and bias too: batch_norm_param { scale_bias: true } takes them"
    sizes = [[int(np.prod(blob.shape)) for blob in side] for side in (blobs, arrays)]
    return "; as many values: rename the layer, or reshape the stored blob" if sizes[0] == sizes[1] else ""


def _remark(remarks: Mapping[str, str]) -> None:
    """Log what layers say of their new blobs, each sentence once."""
    for remark in dict.fromkeys(filter(None, remarks.values())):
        logger.warning("%s: %s", some(name for name in remarks if remarks[name] == remark), remark)


def some(names: Iterable[str]) -> str:
    """The first few of some names, for a message."""
    names = list(names)
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
