"""log.csv: the figures of a run, one row for every iteration that is displayed or tested."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from netspec.errors import SnapshotError
from netspec.files import write_whole
from netspec.log import logger
from netspec.solver.run_folder import LOG

Row = dict[str, str]
"""The cells of a row by the heads of their columns, those without a value left out."""

FIRST = ("iteration", "epoch", "seconds", "lr", "loss")
"""The columns that every log has; the outputs of the train net follow, then those of the test nets."""


class RunLog:
    """Writes the rows of a log as they come, so that a process killed at any moment loses at most the last one. A log
    that is there already is gone on with after `iteration`: what it has of later ones is dropped.

    `place` finds the file. Where it cannot, or the disk is full, that is said once, and the rows wait until it can.
    """

    def __init__(self, place: Callable[[], Path], iteration: int) -> None:
        self._place, self._iteration = place, iteration
        self._path: Path | None = None
        self._columns = list(FIRST)
        self._pending: list[Row] = []
        """The last row in the file, which may get more cells yet, and those that are not in it."""
        self._end: int | None = None
        """Where the first of them begins in the file; nothing while the file has to be written anew."""
        self._is_failing = False
        self._write()

    @property
    def last(self) -> Row:
        """The cells of the last row; none before the first."""
        return self._pending[-1] if self._pending else {}

    def add(self, iteration: int, values: Mapping[str, float]) -> None:
        """Add a row, or cells to that of the same iteration; numbers have seven digits, as many as a float32."""
        cells = {name: f"{value:.7g}" for name, value in values.items()}
        self._take({"iteration": str(iteration), **cells})
        self._write()

    def _take(self, row: Row) -> None:
        if self.last.get("iteration") == row["iteration"]:
            self._pending[-1] |= row
        else:
            self._pending.append(row)

    def _write(self) -> None:
        try:
            path = self._path or self._open()
            columns = _in_order([*self._columns, *(column for row in self._pending for column in row)])
            if self._end is None or columns != self._columns or not path.exists() or path.stat().st_size < self._end:
                self._write_anew(path, columns)
            else:
                self._write_end(path, self._end)
        except (OSError, SnapshotError) as error:
            if not self._is_failing:
                logger.error("%s; the run goes on, the rows of its log wait until they can be written", _cause(error))
            self._is_failing = True
        else:
            self._is_failing = False
            del self._pending[:-1]

    def _open(self) -> Path:
        """Find the file, and put what it has of the iterations up to now before the rows that wait."""
        path, waiting = self._place(), self._pending
        before = [row for row in read_log(path) if int(row["iteration"]) <= self._iteration]
        self._columns, self._pending = _in_order(column for row in before for column in row), before[-1:]
        for row in waiting:
            self._take(row)
        self._path = path
        return path

    def _write_anew(self, path: Path, columns: list[str]) -> None:
        """Replace the file: its rows before the pending ones, and these, under all columns. Without any it is gone."""
        if not self._pending:
            path.unlink(missing_ok=True)
            return
        first = int(self._pending[0]["iteration"])
        before = [row for row in read_log(path) if int(row["iteration"]) < first]
        content = _lines(columns, [dict(zip(columns, columns, strict=True)), *before, *self._pending])
        write_whole(path, content)
        self._columns = columns
        self._end = len(content) - len(_lines(columns, self._pending[-1:]))

    def _write_end(self, path: Path, end: int) -> None:
        """Put the pending rows where the first of them begins."""
        content = _lines(self._columns, self._pending)
        with path.open("r+b") as file:
            file.truncate(end)  # first, so that no rest of a longer row can be left behind it
            file.seek(end)
            file.write(content)
        self._end = end + len(content) - len(_lines(self._columns, self._pending[-1:]))


def read_log(path: Path) -> list[Row]:
    """The rows of a log; a line that was not written to its end is passed over, a missing file has none."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    columns, *lines = [*csv.reader(io.StringIO(text[: text.rfind("\n") + 1]))] or [[]]
    rows = (dict(zip(columns, line, strict=True)) for line in lines if len(line) == len(columns))
    return [{name: cell for name, cell in row.items() if cell} for row in rows if row.get("iteration", "").isdecimal()]


def _in_order(columns: Iterable[str]) -> list[str]:
    """The columns, each once: the first ones, then train outputs, then test outputs, as they came."""
    rest = [column for column in dict.fromkeys(columns) if column not in FIRST]
    return [*FIRST, *sorted(rest, key=lambda column: not column.startswith("train "))]


def _lines(columns: list[str], rows: Iterable[Row]) -> bytes:
    text = io.StringIO()
    csv.DictWriter(text, columns, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _cause(error: OSError | SnapshotError) -> str:
    if isinstance(error, SnapshotError) or not error.strerror:
        return str(error)
    return f"{error.filename or LOG}: cannot be written: {error.strerror}"
