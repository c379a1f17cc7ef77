"""Files that are whole or absent."""

import errno
import os
from pathlib import Path
from typing import Any, NoReturn

import pytest

from netspec import SnapshotError
from netspec.files import read_whole, write_whole


def no_space(*args: Any) -> NoReturn:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_file_is_written_and_its_folder_made(tmp_path: Path) -> None:
    """What is written is read again; folders on the way are made, nothing else is left."""
    path = tmp_path / "snapshots" / "a" / "net.caffemodel"
    write_whole(path, b"content")
    assert read_whole(path) == b"content"
    assert list(path.parent.iterdir()) == [path]


def test_an_older_file_is_replaced(tmp_path: Path) -> None:
    """The new content stands under the old name."""
    path = tmp_path / "file"
    write_whole(path, b"old content")
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize(("owner", "call"), [(Path, "open"), (os, "fsync"), (Path, "replace")])
def test_a_failure_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: object, call: str
) -> None:
    """Where the disk fails, the old file is whole, nothing lies beside it, and the message has path, cause and room."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    monkeypatch.setattr(owner, call, no_space)
    with pytest.raises(SnapshotError, match=rf"{path}: cannot be written: No space left .*\(3 bytes needed, .* free\)"):
        write_whole(path, b"new")
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"old"


def test_the_content_is_on_disk_before_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is synced before it takes the name, and the folder after: a crash leaves the old or the new."""
    path, steps = tmp_path / "file", []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (steps.append("fsync"), fsync(fd)))
    monkeypatch.setattr(Path, "replace", lambda a, b: (steps.append("rename"), replace(a, b)))
    write_whole(path, b"new")
    assert steps == ["fsync", "rename", "fsync"]


@pytest.mark.parametrize("place", ["", "file/below"])
def test_places_that_are_no_file(tmp_path: Path, place: str) -> None:
    """A folder, or a path below a file, cannot be written; the error says so."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SnapshotError, match="cannot be written"):
        write_whole(tmp_path / place, b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert not list(tmp_path.parent.glob(f".{tmp_path.name}*"))


@pytest.mark.parametrize(
    ("place", "reason"), [("absent", "there is no such file"), ("", "cannot be read: Is a directory")]
)
def test_what_cannot_be_read(tmp_path: Path, place: str, reason: str) -> None:
    """A file that is missing or none is an error with its path and the cause."""
    with pytest.raises(SnapshotError, match=reason):
        read_whole(tmp_path / place)


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    """The unfinished file of an earlier process goes when the file is written again; that of another file stays."""
    for name in (".a.bin.1.tmp", ".b.bin.1.tmp"):
        (tmp_path / name).write_bytes(b"half")
    write_whole(tmp_path / "a.bin", b"whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".b.bin.1.tmp", "a.bin"]
