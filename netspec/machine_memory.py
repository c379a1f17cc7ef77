"""What was found out once on this machine, in files of the cache folder: lost without harm."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Generic, TypeVar

from netspec.errors import SnapshotError
from netspec.files import write_whole
from netspec.schema.netspec_pb2 import LayerParameter

T = TypeVar("T")

MOST_ENTRIES = 10_000
"""Beyond, the older half of a file is forgotten."""

_NAMES = ("name", "bottom", "top", "include", "exclude", "param", "phase", "loss_weight")


class MachineMemory(Generic[T]):
    """Entries by key, in `NAME-ENVIRONMENT.json` of a folder; what is not whole in that file counts as never found out.
    `environment` is what all entries depend on."""

    def __init__(self, folder: Path, name: str, environment: str, is_whole: Callable[[object], bool]) -> None:
        self._path = folder / f"{name}-{digest(environment)}.json"
        self._is_new = False
        self._entries: dict[str, T] = {}
        with suppress(OSError, ValueError):
            content = json.loads(self._path.read_bytes())
            if isinstance(content, dict):
                self._entries = {key: entry for key, entry in content.items() if is_whole(entry)}

    def get(self, key: str) -> T | None:
        """What was found out under a key, if anything."""
        return self._entries.get(key)

    def put(self, key: str, entry: T) -> None:
        """Keep an entry, for this process; `write` keeps it for the next one."""
        self._entries[key] = entry
        self._is_new = True

    def write(self) -> None:
        """Keep what is new for the next run; where that cannot be, it is found out again."""
        if not self._is_new:
            return
        if len(self._entries) > MOST_ENTRIES:
            self._entries = dict(list(self._entries.items())[-MOST_ENTRIES // 2 :])
        with suppress(SnapshotError):
            write_whole(self._path, json.dumps(self._entries).encode())
        self._is_new = False


def layer_text(param: LayerParameter) -> str:
    """What a layer's message says of its work, without the names and places that another layer has too."""
    message = LayerParameter()
    message.CopyFrom(param)
    for name in _NAMES:
        message.ClearField(name)
    return str(message)


def stamp(folder: Path) -> str:
    """A text that changes with the modules of a folder, for what depends on how they compute."""
    return str([(file.name, file.stat().st_mtime_ns) for file in sorted(folder.glob("*.py"))])


def digest(text: str) -> str:
    """A short name of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:24]
