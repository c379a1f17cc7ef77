"""Files that are whole or absent: written beside their place, synced, then renamed into it."""

from __future__ import annotations

import glob
import os
import shutil
from contextlib import suppress
from pathlib import Path

from netspec.errors import DataError, SnapshotError


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a crash at any moment leaves the old one or the new one; SnapshotError where it fails."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for abandoned in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
            abandoned.unlink(missing_ok=True)  # of a process that was killed as it wrote this file
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise SnapshotError(_why_unwritten(path, len(content), error)) from None
    finally:
        with suppress(OSError):
            beside.unlink()


def make_folder(folder: Path, what: str = "the folder") -> None:
    """Make a folder for what is written later; SnapshotError where it cannot be, or cannot be written to: to be told
    before the work that is to be written. `what` it is in words."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SnapshotError(f"{folder}: {what} cannot be made: {error.strerror}") from None
    if not os.access(folder, os.W_OK):
        raise SnapshotError(f"{folder}: {what} cannot be written to")


def refuse_unwritable(path: Path) -> None:
    """DataError where no file can be written at a place: to be told before a long pass over a set."""
    folder = next(parent for parent in path.absolute().parents if os.path.lexists(parent))
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        reason = "it is a folder" if path.is_dir() else f"{folder} is no folder that can be written to"
        raise DataError(f"{path}: cannot be written: {reason}")


def cache_folder() -> Path:
    """Where what can be made again is kept: $NETSPEC_CACHE, or ~/.cache/netspec. It may not be there yet."""
    folder = os.environ.get("NETSPEC_CACHE")
    return Path(folder) if folder else Path.home() / ".cache" / "netspec"


def sync_folder(folder: Path) -> None:
    """Make a rename in the folder last through a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def free_on_disk(path: Path) -> int:
    """How many bytes are free where a file or folder is to be, the folders above it there or not."""
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    return shutil.disk_usage(folder).free


def _why_unwritten(path: Path, size: int, error: OSError) -> str:
    reason = f"{path}: cannot be written: {error.strerror}"
    try:
        return f"{reason} ({size:,} bytes needed, {shutil.disk_usage(path.parent).free:,} free)"
    except OSError:
        return reason


def read_whole(path: Path) -> bytes:
    """The bytes of a file; SnapshotError where it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise SnapshotError(f"{path}: there is no such file") from None
    except OSError as error:
        raise SnapshotError(f"{path}: cannot be read: {error.strerror}") from None
