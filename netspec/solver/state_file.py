"""The files of a solver state, .solverstate and .solverstate.h5: Caffe reads both, and both find damage.

The binary file starts with our own part, which Caffe skips, and ends with a checksum of all bytes before. The HDF5
file has the checksum of all that follows in a user block, which HDF5 skips.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
from google.protobuf.message import DecodeError
from torch import Tensor

from netspec.errors import SnapshotError
from netspec.files import read_whole, write_whole
from netspec.schema.netspec_pb2 import RunState, SolverState
from netspec.weights import blob_message
from netspec.weights.hdf5 import SIGNATURE, datasets

_DIGEST_SIZE = hashlib.sha256().digest_size
_TRAILER = SolverState(checksum=bytes(_DIGEST_SIZE)).SerializeToString()[:-_DIGEST_SIZE]
"""What stands before the checksum's bytes at the end of a binary file: the field's tag and its length."""

_BLOCK_SIZE = 512
_MARK = b"netspec "
"""How the user block of an HDF5 file begins; the checksum follows."""


def write_state(path: Path, state: SolverState, history: Sequence[Tensor]) -> None:
    """Write a state and its history, whole or not at all; SnapshotError where it cannot be written."""
    arrays = [blob.cpu().numpy() for blob in history]
    write_whole(path, _hdf5(state, arrays) if path.suffix == ".h5" else _binary(state, arrays))


def read_state(path: Path) -> SolverState:
    """Read a state, ours or Caffe's; SnapshotError where it is missing, damaged, or something else."""
    content = read_whole(path)
    try:
        state = _from_hdf5(content) if path.suffix == ".h5" else _from_binary(content)
    except _DamageError:
        raise SnapshotError(f"{path}: damaged: its checksum does not agree with its content") from None
    except (DecodeError, OSError, LookupError, RuntimeError, TypeError, ValueError, OverflowError, MemoryError):
        raise SnapshotError(f"{path}: this is no solverstate, or it is damaged") from None
    if not state.HasField("iter") or not state.history:
        raise SnapshotError(f"{path}: this is no solverstate: it has no iteration and no history")
    return state


class _DamageError(Exception):
    """The bytes are not those that were written."""


def _binary(state: SolverState, history: Sequence[np.ndarray]) -> bytes:
    rest = SolverState()
    rest.CopyFrom(state)
    rest.ClearField("run")
    parts = [SolverState(run=state.run).SerializeToString(), rest.SerializeToString()]
    for array in history:
        # The history is a repeated BlobProto: each blob is one more field in the bytes, with its tag and length.
        blob = blob_message(array).SerializeToString()
        parts += [_varint(SolverState.HISTORY_FIELD_NUMBER << 3 | 2), _varint(len(blob)), blob]
    parts.append(_TRAILER)
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return b"".join([*parts, digest.digest()])  # once: a history may be as large as the memory that is left


def _varint(value: int) -> bytes:
    groups = []
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])


def _from_binary(content: bytes) -> SolverState:
    state: SolverState = SolverState.FromString(content)
    body, digest = content[:-_DIGEST_SIZE], content[-_DIGEST_SIZE:]
    whole = body.endswith(_TRAILER) and hashlib.sha256(body).digest() == digest
    if not whole and (state.HasField("run") or state.HasField("checksum") or body.endswith(_TRAILER)):
        raise _DamageError
    return state


def _hdf5(state: SolverState, history: Sequence[np.ndarray]) -> bytes:
    """Caffe's datasets iter, learned_net, current_step and history/0, history/1, ...; ours is /run."""
    content = io.BytesIO()
    with h5py.File(content, "w", userblock_size=_BLOCK_SIZE) as file:
        file["iter"] = np.array([state.iter], np.int32)
        name = np.bytes_(state.learned_net.encode() + b"\0")
        file.create_dataset("learned_net", data=name, dtype=_text_of(name.itemsize))
        file["current_step"] = np.array([state.current_step], np.int32)
        group = file.create_group("history")
        for index, array in enumerate(history):
            group[str(index)] = array.astype("<f4")
        file["run"] = np.frombuffer(state.run.SerializeToString(), np.uint8)
    rest = content.getvalue()[_BLOCK_SIZE:]
    return (_MARK + hashlib.sha256(rest).digest()).ljust(_BLOCK_SIZE, b"\0") + rest


def _text_of(size: int) -> h5py.Datatype:
    """The type of a text of some bytes, the last of which is 0: Caffe reads to there. h5py's own texts do without."""
    kind = h5py.h5t.C_S1.copy()
    kind.set_size(size)
    return h5py.Datatype(kind)


def _from_hdf5(content: bytes) -> SolverState:
    if content.startswith(_MARK):
        block, rest = content[:_BLOCK_SIZE], content[_BLOCK_SIZE:]
        if block != (_MARK + hashlib.sha256(rest).digest()).ljust(_BLOCK_SIZE, b"\0"):
            raise _DamageError
    elif not content.startswith(SIGNATURE):
        raise ValueError
    with h5py.File(io.BytesIO(content), "r") as file:
        name = np.asarray(file["learned_net"][()]).tobytes().rstrip(b"\0").decode()
        state = SolverState(iter=int(file["iter"][0]), learned_net=name, current_step=int(file["current_step"][0]))
        history = datasets(file.require_group("history"), len(content))
        for index in range(len(history)):
            state.history.add().MergeFromString(blob_message(history[str(index)]).SerializeToString())
        if "run" in file:
            state.run.CopyFrom(RunState.FromString(file["run"][()].tobytes()))
    return state
