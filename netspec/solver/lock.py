"""One run at a time under one snapshot prefix."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from netspec.errors import SnapshotError

_LONGEST_NAME = 1000
"""Bytes that are read of what another run says of itself."""


@contextmanager
def only_run(prefix: str) -> Iterator[None]:
    """Hold the prefix inside the block; SnapshotError, naming the run that holds it, where another one does. The
    system lets go of it when a process ends, however it ends: the file that stays is no obstacle."""
    path = Path(prefix).with_name(f".{Path(prefix).name}.lock")
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise SnapshotError(f"{path}: cannot be written: {error.strerror}") from None
    try:
        _take(file, prefix)
        yield
    finally:
        os.close(file)


def _take(file: int, prefix: str) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(file, _LONGEST_NAME, 0).decode(errors="replace").strip() or "another process"
        raise SnapshotError(f"{prefix}: a run is on under this snapshot_prefix already: {holder}") from None
    except OSError:
        return  # a file system without locks: better unguarded than not at all
    own = f"process {os.getpid()} on {socket.gethostname()} since {time.strftime('%Y-%m-%d %H:%M:%S')}\n"
    with suppress(OSError):  # a full disk: the name of the run is lost, the lock is not
        os.ftruncate(file, 0)
        os.pwrite(file, own.encode(), 0)
