"""What a run leaves beside its snapshots for whoever looks at it."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from netspec.files import write_whole
from netspec.schema.netspec_pb2 import SolverParameter
from netspec.solver.events import Events, check_installed
from netspec.solver.run_folder import ENVIRONMENT, LOG, RunFolder, claim
from netspec.solver.run_log import RunLog
from netspec.spec import Document

Texts = Callable[[RunFolder], Mapping[str, str]]
"""The texts of a run by the names of their files, given where they go."""


class Record:
    """The log of a run, its texts and its environment, and for a solver with `tensorboard` its events.

    Without them the run goes on: what cannot be written is an error in the log, and is tried again.
    """

    def __init__(self, document: Document[SolverParameter]) -> None:
        """SpecError where the solver asks for what is not installed."""
        check_installed(document)
        self._with_events = document.message.tensorboard
        self._log: RunLog | None = None
        self._events: Events | None = None
        self._begun = 0.0
        self._was_open = False

    def open(
        self, prefix: str, iteration: int, resumed: bool, texts: Texts, lines: Sequence[str], read: Iterable[Path]
    ) -> None:
        """Begin the files of the run of a prefix, or go on with them where it was resumed at an iteration. `lines`
        say what its bits depend on; the files that it has `read` are left alone, should they have these names."""
        kept = {path.resolve() for path in read}

        def place() -> Path:
            names = claim(prefix)
            aside = None if resumed or self._was_open else names.set_aside(kept)
            for name, text in texts(names).items():
                if names.file(name).resolve() not in kept:
                    write_whole(names.file(name), text.encode())
            _append(names.file(ENVIRONMENT), iteration, [*_circumstances(), *lines], aside)
            if self._with_events:
                self._events = Events(names.folder / names.mark.rstrip("_"), iteration)
            self._was_open = True
            return names.file(LOG)

        self._log = RunLog(place, iteration)
        # The time before the snapshot is that of the last row, not in the snapshot: the bits of one would depend on it.
        self._begun = time.perf_counter() - float(self._log.last.get("seconds", 0))

    def add(self, iteration: int, epoch: float | None, values: Mapping[str, float]) -> None:
        """Add figures of an iteration. The first of them say when it was: the train net had seen its data `epoch` times
        before it."""
        if self._log:
            when = {} if epoch is None else {"epoch": epoch}
            when["seconds"] = round(time.perf_counter() - self._begun, 2)
            is_new = self._log.last.get("iteration") != str(iteration)
            self._log.add(iteration, {**when, **values} if is_new else values)
        if self._events:
            self._events.add(iteration, values)

    def close(self) -> None:
        """Add nothing from here on."""
        self._log = self._events = None


def _append(path: Path, iteration: int, lines: Iterable[str], aside: Path | None) -> None:
    """Add a start of the run to the file of its environments."""
    begins = f"started {time.strftime('%Y-%m-%d %H:%M:%S')} at iteration {iteration}"
    moved = [f"the log of the run before is {aside.name}"] if aside else []
    with path.open("a") as file:
        file.write("".join(f"{line}\n" for line in ("", begins, *moved, *lines)))


def _circumstances() -> list[str]:
    """How the run was started, and with which netspec."""
    try:
        number = version("netspec")
    except PackageNotFoundError:
        number = "that is not installed"
    return [f"command {shlex.join(sys.orig_argv)}", f"folder {Path.cwd()}", f"netspec {number}"]
