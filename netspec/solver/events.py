"""Events for TensorBoard, which reads a folder of them as one run."""

from __future__ import annotations

import io
import os
import re
import socket
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from netspec.log import logger
from netspec.schema.netspec_pb2 import SolverParameter
from netspec.spec import Document

_OUTPUT = re.compile(r"(train|test(?: \d+)?) (.+)")


def check_installed(document: Document[SolverParameter]) -> None:
    """SpecError where a solver asks for events and TensorBoard is not installed."""
    if document.message.tensorboard and find_spec("tensorboard") is None:
        reason = "tensorboard is not installed: pip install 'netspec[tensorboard]'"
        raise document.error(reason, "tensorboard")


class Events:
    """Writes a file of events. TensorBoard then forgets what earlier files of the folder have of `iteration` and
    later ones. What cannot be written, which is said once, waits for the next that can.

    The file is that of torch.utils.tensorboard.SummaryWriter, whose background thread would end with a traceback, and
    leave half an event, where the disk is full.
    """

    def __init__(self, folder: Path, iteration: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog

        self._path = folder / f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        self._pending = _record(Event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())
        start = Event(wall_time=time.time(), step=iteration, session_log=SessionLog(status=SessionLog.START))
        self._pending += _record(start.SerializeToString())
        self._end = 0
        self._is_failing = False

    def add(self, iteration: int, values: Mapping[str, float]) -> None:
        """Add the figures of an iteration, named as the columns of a log: "test accuracy" becomes test/accuracy."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        scalars = [Summary.Value(tag=_tag(name), simple_value=value) for name, value in values.items()]
        event = Event(wall_time=time.time(), step=iteration, summary=Summary(value=scalars))
        self._pending += _record(event.SerializeToString())
        try:
            self._write()
        except OSError as error:
            if not self._is_failing:
                reason = f"{self._path}: cannot be written: {error.strerror}"
                logger.error("%s; the run goes on, its events wait for the next that can be written", reason)
            self._is_failing = True
        else:
            self._is_failing = False

    def _write(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("r+b" if self._path.exists() else "wb") as file:
            file.truncate(self._end)  # half an event, from a disk that was full
            file.seek(self._end)
            file.write(self._pending)
        self._end += len(self._pending)
        self._pending = b""


def _tag(column: str) -> str:
    return _OUTPUT.sub(r"\1/\2", column)


def _record(event: bytes) -> bytes:
    """An event as it stands in a file: with its length and checksums."""
    from tensorboard.summary.writer.record_writer import RecordWriter

    content = io.BytesIO()
    RecordWriter(content).write(event)
    return content.getvalue()
