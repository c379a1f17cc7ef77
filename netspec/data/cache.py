"""A set of decoded images in one file, mapped into memory: present whole or not at all."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from netspec.data.datum import Pixels
from netspec.data.labels import Labels

Set = tuple[Pixels, Labels]  # images (N, C, H, W) and their labels (N, ...)

_HEADER_BYTES = 4096
_LABELS = "float64"
_SPARE_BYTES = 1 << 30


def cache_file(name: str) -> Path:
    """Where the decoded set of that name belongs: under $NETSPEC_CACHE, or ~/.cache/netspec."""
    folder = os.environ.get("NETSPEC_CACHE")
    parent = Path(folder) if folder else Path.home() / ".cache" / "netspec"
    return parent / f"{hashlib.sha256(name.encode()).hexdigest()[:24]}.images"


def has_room(path: Path, size: int) -> bool:
    """Whether `size` more bytes leave half of the free space, and at least 1 GiB."""
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    free = shutil.disk_usage(folder).free
    return free - size >= max(_SPARE_BYTES, free // 2)


def open_set(path: Path, key: str) -> Set | None:
    """The set that the file holds, or None where there is none, it is of another `key`, or it is not whole."""
    try:
        with path.open("rb") as file:
            header: dict[str, Any] = json.loads(file.read(_HEADER_BYTES))
        if header["key"] != key:
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
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    header = {"key": key, "shape": shape, "dtype": dtype.name, "labels": _LABELS, "label_shape": label_shape}
    labels = []
    try:
        with temporary.open("wb") as file:
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
