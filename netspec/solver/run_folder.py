"""The files that a run keeps beside its snapshots: what they are called, and whose they are."""

from __future__ import annotations

import glob
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

LOG, SOLVER, NET, ENVIRONMENT = "log.csv", "solver.prototxt", "net.prototxt", "environment.txt"

HEAD = "# Written by netspec"
"""How the texts of a run begin: what begins otherwise is the user's."""


@dataclass(frozen=True)
class RunFolder:
    """A folder, and what the names of one run's files begin with there: mostly nothing."""

    folder: Path
    mark: str

    def file(self, name: str) -> Path:
        """The place of one of the run's files."""
        return self.folder / f"{self.mark}{name}"

    @property
    def owner(self) -> str:
        """The stem of the snapshots of the run whose environment these files have; nothing without one."""
        try:
            first = self.file(ENVIRONMENT).read_text(errors="replace").partition("\n")[0]
        except OSError:
            return ""
        return first.removeprefix("prefix ") if first.startswith("prefix ") else ""

    def texts(self) -> list[Path]:
        """The solver and the nets that are there under these names, whoever wrote them."""
        mark = glob.escape(self.mark)
        return [path for name in (SOLVER, NET, f"test_*_{NET}") for path in self.folder.glob(f"{mark}{name}")]

    def take_for(self, stem: str) -> bool:
        """Whether these names are this run's from now on: they were, or nobody has them."""
        if not all(_is_ours(path) for path in self.texts()):
            return False
        if self.owner == stem:
            return True
        if self.file(LOG).exists():
            return False
        try:
            with self.file(ENVIRONMENT).open("x") as file:  # only one of two runs that start together can
                file.write(f"prefix {stem}\n")
        except FileExistsError:
            return False
        except OSError:  # a full disk: names without an owner would be nobody's for ever
            self.file(ENVIRONMENT).unlink(missing_ok=True)
            raise
        return True

    def set_aside(self, kept: Collection[Path]) -> Path | None:
        """Number the log and the texts of the run before, those `kept` excepted, so that a new one does not replace
        them: log.csv becomes log.1.csv, the next one log.2.csv. Where the log went; nothing where there is none."""
        if not self.file(LOG).exists():
            return None
        number = 1
        while _numbered(self.file(LOG), number).exists():
            number += 1
        for path in (self.file(LOG), *self.texts()):
            if path.resolve() not in kept:
                path.replace(_numbered(path, number))
        return _numbered(self.file(LOG), number)


def claim(prefix: str) -> RunFolder:
    """The names for the files of the run of a prefix: log.csv and so on, or with the prefix's stem before them where
    these belong to another run or to the user. OSError where none can be had."""
    for names in _names(prefix):
        if names.take_for(Path(prefix).name):
            return names
    raise FileExistsError(0, "the names of a run's files are all taken by others")


def find(prefix: str) -> RunFolder | None:
    """Where the files of the run of a prefix are, if there are any."""
    return next((names for names in _names(prefix) if names.owner == Path(prefix).name), None)


def _names(prefix: str) -> Iterator[RunFolder]:
    stem = Path(prefix).name
    return (RunFolder(Path(prefix).parent, mark) for mark in ("", f"{stem}_", f"{stem}_run_"))


def _is_ours(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(HEAD)) == HEAD.encode()
    except OSError:
        return False


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.stem}.{number}{path.suffix}")
