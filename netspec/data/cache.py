"""A set of decoded images in one file, mapped into memory: present whole or not at all."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable
from contextlib import suppress
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from netspec.data.datum import Pixels
from netspec.data.labels import Labels
from netspec.files import cache_folder, free_on_disk

Set = tuple[Pixels, Labels]  # images (N, C, H, W) and their labels (N, ...)

_HEADER_BYTES = 4096
_LABELS = "float64"
_SPARE_BYTES = 1 << 30


def cache_file(name: str) -> Path:
    """Where the decoded set of that name belongs, in the cache folder."""
    return cache_folder() / f"{_digest(name)[:24]}.images"


def has_room(path: Path, size: int) -> bool:
    """Whether `size` more bytes leave half of the free space, and at least 1 GiB."""
    free = free_on_disk(path)
    return free - size >= max(_SPARE_BYTES, free // 2)


def remove_abandoned(folder: Path) -> None:
    """Remove what processes left in the cache folder that were killed as they wrote a set."""
    for file in folder.glob(".*.images.*.tmp"):
        with suppress(OSError), file.open("r+b") as opened:  # OSError: a process, or a thread of this one, writes it
            flock(opened, LOCK_EX | LOCK_NB)
            if file.stat().st_size:  # else it may just have been made, and is not locked yet
                file.unlink()


def open_set(path: Path, key: str) -> Set | None:
    """The set that the file holds, or None where there is none, it is of another `key`, or it is not whole."""
    try:
        with path.open("rb") as file:
            header: dict[str, Any] = json.loads(file.read(_HEADER_BYTES))
        if header["key"] != _digest(key):
            return None
        shape, dtype = tuple(header["shape"]), np.dtype(header["dtype"])
        label_shape = (shape[0], *header["label_shape"])
        labels_at = _HEADER_BYTES + math.prod(shape) * dtype.itemsize
        if path.stat().st_size != labels_at + 8 * math.prod(label_shape):
            return None
        images = np.asarray(np.memmap(path, dtype, "r", _HEADER_BYTES, shape))
        return images, np.fromfile(path, header["labels"], offset=labels_at).reshape(label_shape)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_set(
    path: Path,
    key: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    label_shape: tuple[int, ...],
    parts: Iterable[Set],
) -> None:
    """Write the parts of a set of `shape`, each label of `label_shape`, in order; the file appears once it is whole.
    Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    header = {"key": _digest(key), "shape": shape, "dtype": dtype.name, "labels": _LABELS, "label_shape": label_shape}
    labels = []
    try:
        with temporary.open("xb") as file:
            flock(file, LOCK_EX)
            file.write(json.dumps(header).encode().ljust(_HEADER_BYTES))
            for images, some in parts:
                # Written, not mapped: on a full disk a write reports it, a mapped page ends the process.
                file.write(np.ascontiguousarray(images).data)
                labels.append(some)
            file.write(np.concatenate(labels).data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _digest(text: str) -> str:
    """A text of any length as one that fits the header and the name of a file."""
    return hashlib.sha256(text.encode()).hexdigest()
