"""Log lines in Caffe's form (glog's prefix), so that the log parsers written for Caffe read them."""

from __future__ import annotations

import logging
import sys
import time
from contextlib import suppress

from tqdm import tqdm

logger = logging.getLogger("netspec")


class GlogFormatter(logging.Formatter):
    """``I1121 02:03:04.123456  1234 solver.py:218] message``: level, month and day, time, process, file and line."""

    def format(self, record: logging.LogRecord) -> str:
        when = time.strftime("%m%d %H:%M:%S", time.localtime(record.created))
        micro = int(record.created % 1 * 1_000_000)
        prefix = f"{record.levelname[0]}{when}.{micro:06d} {record.process:5d} {record.filename}:{record.lineno}] "
        return "\n".join(prefix + line for line in record.getMessage().splitlines())


class _Handler(logging.Handler):
    """Writes to standard error, above a progress bar where there is one. A line that cannot be written, since the disk
    is full or the terminal gone, is lost, and not the run."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):
            tqdm.write(self.format(record), file=sys.stderr)
            sys.stderr.flush()


def log_to_stderr(level: int = logging.INFO) -> None:
    """Show what netspec logs on standard error, as the tools do. A second call only sets the level."""
    if not logger.handlers:
        handler = _Handler()
        handler.setFormatter(GlogFormatter())
        logger.addHandler(handler)
    logger.setLevel(level)
