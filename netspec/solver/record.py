"""What a run leaves beside its snapshots for whoever looks at it."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from netspec.files import write_whole
from netspec.net import Net
from netspec.schema.netspec_pb2 import SolverParameter
from netspec.solver.events import Events, check_installed
from netspec.solver.run_folder import ENVIRONMENT, LOG, claim
from netspec.solver.run_log import RunLog
from netspec.solver.run_texts import resolved_texts
from netspec.solver.stored import Environment
from netspec.spec import Document


class Record:
    """The log of a run, its texts and its environment, and for a solver with `tensorboard` its events. `document` is
    the solver with all settings, `nets` its nets, the train net first.

    Without them the run goes on: what cannot be written is an error in the log, and is tried again.
    """

    def __init__(
        self, document: Document[SolverParameter], nets: Callable[[], Sequence[Net]], environment: Environment
    ) -> None:
        """SpecError where the solver asks for what is not installed."""
        check_installed(document)
        self._document, self._nets, self._environment = document, nets, environment
        self._log: RunLog | None = None
        self._events: Events | None = None
        self._begun = 0.0
        self._was_open = False

    def open(self, prefix: str, iteration: int, seed: int, resumed: bool) -> None:
        """Begin the files of the run of a prefix, or go on with them where it was resumed at an iteration. The texts
        that it was read from are left alone, should they have these names."""
        train_net, *test_nets = self._nets()
        read = [self._document.path, *(net.graph.document.path for net in (train_net, *test_nets))]
        kept = {Path(path).resolve() for path in read}

        def place() -> Path:
            names = claim(prefix)
            aside = None if resumed or self._was_open else names.set_aside(kept)
            texts = resolved_texts(self._document, names, prefix, seed, train_net, test_nets)
            for name, text in texts.items():
                if names.file(name).resolve() not in kept:
                    write_whole(names.file(name), text.encode())
            _append(names.file(ENVIRONMENT), iteration, [*_circumstances(), *self._environment.lines], aside)
            if self._document.message.tensorboard:
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
