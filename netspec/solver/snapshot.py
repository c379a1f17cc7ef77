"""Snapshots: a .caffemodel and a .solverstate that Caffe reads, with what an exact resume needs besides.

The weights are written first; the state is the one commit point. It starts with our own part, which Caffe skips, and
ends with a checksum of all bytes before: whatever is cut or changed is found on reading.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from google.protobuf.message import DecodeError
from torch import Tensor

from netspec.errors import SnapshotError
from netspec.files import read_whole, write_whole
from netspec.log import logger
from netspec.schema.netspec_pb2 import BlobProto, RandomState, RunState, SolverState
from netspec.weights import blob_message, same_shape

_DIGEST_SIZE = hashlib.sha256().digest_size
_TRAILER = SolverState(checksum=bytes(_DIGEST_SIZE)).SerializeToString()[:-_DIGEST_SIZE]
"""What stands before the checksum's bytes at the end of the file: the field's tag and its length."""


def write_state(path: Path, run: RunState, state: SolverState, history: Sequence[Tensor]) -> None:
    """Write a .solverstate, whole or not at all; SnapshotError where it cannot be written."""
    content = SolverState(run=run).SerializeToString() + state.SerializeToString()
    for blob in history:
        # The history is a repeated BlobProto: each blob is one more field in the bytes.
        content += _field(SolverState.HISTORY_FIELD_NUMBER, blob_message(blob.cpu().numpy()).SerializeToString())
    write_whole(path, content + _TRAILER + hashlib.sha256(content + _TRAILER).digest())


def _field(number: int, content: bytes) -> bytes:
    """The bytes of a field that holds a message: tag, length, content."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    groups = []
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])


def read_state(path: Path) -> SolverState:
    """Read a .solverstate, ours or Caffe's; SnapshotError where it is missing, damaged, or something else."""
    content = read_whole(path)
    try:
        state = SolverState.FromString(content)
    except DecodeError:
        raise SnapshotError(f"{path}: this is no solverstate, or it is damaged") from None
    body, digest = content[:-_DIGEST_SIZE], content[-_DIGEST_SIZE:]
    whole = body.endswith(_TRAILER) and hashlib.sha256(body).digest() == digest
    if not whole and (state.HasField("run") or state.HasField("checksum") or body.endswith(_TRAILER)):
        raise SnapshotError(f"{path}: damaged: its checksum does not agree with its content")
    if not state.HasField("iter") or not state.history:
        raise SnapshotError(f"{path}: this is no solverstate: it has no iteration and no history")
    return state


def weights_of(path: Path, state: SolverState) -> Path:
    """The weights file that belongs to a state, verified: beside the state, or where the state says it is."""
    try:
        candidates = [path.with_name(Path(state.learned_net).name), Path(state.learned_net)]
        found = next((candidate for candidate in candidates if candidate.is_file()), None)
    except (OSError, TypeError, ValueError):  # no name, or one that no file can have
        raise SnapshotError(f"{path}: damaged: it does not name its weights file") from None
    if found is None:
        raise SnapshotError(f"{path}: its weights file {candidates[0].name} is not beside it")
    wanted = state.run.weights_sha256
    if wanted and hashlib.sha256(read_whole(found)).digest() != wanted:
        raise SnapshotError(f"{found}: damaged: its checksum does not agree with that in {path.name}")
    return found


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


def state_of_pair(path: Path) -> Path:
    """The .solverstate of a snapshot, given either file of its pair."""
    return path.with_suffix(".solverstate") if path.suffix == ".caffemodel" else path


def snapshots(prefix: str) -> list[Path]:
    """The .solverstate files of a prefix, newest iteration first."""
    folder, stem = Path(prefix).parent, Path(prefix).name
    pattern = re.compile(re.escape(stem) + r"_iter_(\d+)\.solverstate")
    found = [(int(match[1]), path) for path in _files(folder) if (match := pattern.fullmatch(path.name))]
    return [path for _, path in sorted(found, reverse=True)]


def _files(folder: Path) -> Iterator[Path]:
    return folder.iterdir() if folder.is_dir() else iter(())


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
    damaged or of a run before, neither count nor go."""
    paths = snapshots(prefix)
    for path in paths[paths.index(newest) :][keep:] if keep else ():
        for file in (path, path.with_suffix(".caffemodel")):
            try:
                file.unlink(missing_ok=True)
            except OSError as error:
                raise SnapshotError(f"{file}: cannot be deleted: {error.strerror}") from None


def random_states(device: torch.device) -> list[RandomState]:
    """The states of torch's generators: the CPU's and the device's."""
    states = [RandomState(device="cpu", state=torch.get_rng_state().numpy().tobytes())]
    if device.type == "cuda":
        states.append(RandomState(device="cuda", state=torch.cuda.get_rng_state(device).numpy().tobytes()))
    return states


def set_random_states(states: Sequence[RandomState], device: torch.device) -> None:
    """Put torch's generators back to stored states."""
    for stored in states:
        state = torch.from_numpy(np.frombuffer(stored.state, np.uint8).copy())
        if stored.device == "cpu":
            torch.set_rng_state(state)
        elif device.type == "cuda":
            torch.cuda.set_rng_state(state, device)


def environment(device: torch.device) -> list[str]:
    """What the bits of a result depend on besides the texts and the data, one line a setting."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    return [
        f"torch {torch.__version__}",
        f"device {device.type} {name}",
        f"threads {torch.get_num_threads()}",
        f"mkldnn {torch.backends.mkldnn.enabled}",
        f"cores {os.cpu_count()}",
    ]
