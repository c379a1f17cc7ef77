"""Snapshots: a weights file, that of the averaged weights where there are some, and a solver state.

The weights are written first; the state, which has their checksums, is the one commit point.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import dropwhile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from netspec.errors import SnapshotError
from netspec.files import read_whole
from netspec.log import logger
from netspec.schema.netspec_pb2 import BlobProto, SolverParameter, SolverState
from netspec.weights import same_shape

_SUFFIXES = {
    SolverParameter.BINARYPROTO: (".caffemodel", ".solverstate"),
    SolverParameter.HDF5: (".caffemodel.h5", ".solverstate.h5"),
    SolverParameter.SAFETENSORS: (".safetensors", ".solverstate"),
}
"""How the weights files and the states of each snapshot_format end."""

_AVERAGE = "_ema"

_LARGEST = 2**31 - 2**24
"""Bytes. A protobuf message ends before 2 GiB; the texts, the shapes and the rest take what is left."""


@dataclass(frozen=True)
class Files:
    """The files of one snapshot."""

    weights: Path
    average: Path
    state: Path


def prefix_of(given: str, solver_file: str) -> str:
    """What the names of a run's snapshots start with; where no prefix is given, or a folder, the solver file's own
    name."""
    file = Path(solver_file)
    if not given:
        return str(file.with_suffix(""))
    return str(Path(given) / file.stem) if given.endswith("/") or Path(given).is_dir() else given


def files_of(prefix: str, iteration: int, snapshot_format: SolverParameter.SnapshotFormat) -> Files:
    """The files of the snapshot of an iteration."""
    weights, state = _SUFFIXES[snapshot_format]
    stem = f"{prefix}_iter_{iteration}"
    return Files(Path(stem + weights), Path(stem + _AVERAGE + weights), Path(stem + state))


def check_sizes(files: Files, weights: Sequence[Tensor], history: Sequence[Tensor]) -> None:
    """SnapshotError where a file would be larger than one of Caffe's binary format can be."""
    for file, blobs in ((files.weights, weights), (files.state, history)):
        size = sum(blob.numel() * blob.element_size() for blob in blobs)
        if file.suffix in (".caffemodel", ".solverstate") and size > _LARGEST:
            reason = f"{size:,} bytes of numbers are too many for a binary file; snapshot_format: HDF5 takes any number"
            raise SnapshotError(f"{file}: {reason}")


def state_of(path: Path) -> Path:
    """The state of a snapshot, given any of its files."""
    for weights, state in _SUFFIXES.values():
        if path.name.endswith(weights):
            return path.with_name(path.name.removesuffix(weights).removesuffix(_AVERAGE) + state)
    return path


def average_of(weights: Path) -> Path:
    """The file of the averaged weights beside a weights file."""
    suffix = next((suffix for suffix, _ in _SUFFIXES.values() if weights.name.endswith(suffix)), weights.suffix)
    return weights.with_name(weights.name.removesuffix(suffix) + _AVERAGE + suffix)


def weights_of(path: Path, state: SolverState) -> Path:
    """The weights file that belongs to a state, verified: beside the state, or where the state says it is."""
    try:
        candidates = [path.with_name(Path(state.learned_net).name), Path(state.learned_net)]
        found = next((candidate for candidate in candidates if candidate.is_file()), None)
    except (OSError, TypeError, ValueError):  # no name, or one that no file can have
        raise SnapshotError(f"{path}: damaged: it does not name its weights file") from None
    if found is None:
        raise SnapshotError(f"{path}: its weights file {candidates[0].name} is not beside it")
    _verify(found, state.run.weights_sha256, path)
    if state.run.ema_sha256:
        _verify(average_of(found), state.run.ema_sha256, path)
    return found


def _verify(file: Path, digest: bytes, state: Path) -> None:
    if digest and hashlib.sha256(read_whole(file)).digest() != digest:
        raise SnapshotError(f"{file}: damaged: its checksum does not agree with that in {state.name}")


def check_history(path: Path, state: SolverState, history: Sequence[Tensor]) -> None:
    """SnapshotError where a state's history is not that of this net and solver type."""
    if len(state.history) != len(history):
        counts = f"{len(state.history)} history blobs, not {len(history)}"
        raise SnapshotError(f"{path}: a snapshot of another net or solver type: {counts}")
    for index, (stored, own) in enumerate(zip(state.history, history, strict=True)):
        shape = _shape(stored)
        if not same_shape(shape, own.shape):
            reason = f"history blob {index} has shape {shape}, not {tuple(own.shape)}"
            raise SnapshotError(f"{path}: a snapshot of another net: {reason}")
        if len(stored.data) != own.numel():
            raise SnapshotError(
                f"{path}: damaged: history blob {index} has {len(stored.data)} of {own.numel()} numbers"
            )


def copy_history(state: SolverState, history: Sequence[Tensor]) -> None:
    """Copy a checked state's history into the solver's."""
    for stored, own in zip(state.history, history, strict=True):
        own.copy_(torch.from_numpy(np.array(stored.data, np.float32)).reshape(own.shape))


def _shape(blob: BlobProto) -> tuple[int, ...]:
    return tuple(blob.shape.dim) if blob.HasField("shape") else (blob.num, blob.channels, blob.height, blob.width)


def snapshots(prefix: str) -> list[Path]:
    """The states of a prefix, newest iteration first; SnapshotError where their folder cannot be read."""
    folder, stem = Path(prefix).parent, Path(prefix).name
    pattern = re.compile(re.escape(stem) + r"_iter_(\d+)\.solverstate(\.h5)?")
    try:
        names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    except OSError as error:
        raise SnapshotError(f"{folder}: cannot be read: {error.strerror}") from None
    found = [(int(match[1]), name) for name in names if (match := pattern.fullmatch(name))]
    return [folder / name for _, name in sorted(found, reverse=True)]


def newest_valid(prefix: str, restore: Callable[[Path], None]) -> Path:
    """Restore the newest snapshot of a prefix that can be; those that cannot are named, kept, and passed over."""
    paths = snapshots(prefix)
    for path in paths:
        try:
            restore(path)
        except SnapshotError as error:
            logger.warning("%s; trying the one before", error)
        else:
            return path
    reason = "none of its snapshots can be used" if paths else "there is no snapshot to resume from"
    raise SnapshotError(f"{prefix}_iter_*.solverstate: {reason}")


def prune(prefix: str, newest: Path, keep: int) -> None:
    """Delete all but `keep` snapshots up to `newest`, the one just written; 0 keeps all. Those of later iterations,
    damaged or of a run before, neither count nor go. The state goes last: what is left of a snapshot is found again."""
    if not keep:
        return
    try:
        up_to_newest = dropwhile(newest.__ne__, snapshots(prefix))
        for path in list(up_to_newest)[keep:]:
            for file in (*_weights_beside(path), path):
                file.unlink(missing_ok=True)
    except (OSError, SnapshotError) as error:
        logger.warning("older snapshots cannot be deleted: %s", error)


def _weights_beside(state: Path) -> list[Path]:
    """The weights files, there or not, that a state can have: those whose format has states of this name."""
    suffixes = [(weights, suffix) for weights, suffix in _SUFFIXES.values() if state.name.endswith(suffix)]
    return [
        state.with_name(state.name.removesuffix(suffix) + mark + weights)
        for weights, suffix in suffixes
        for mark in ("", _AVERAGE)
    ]
