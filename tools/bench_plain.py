"""The plain loop in a process of its own, that rounds can still alternate with."""

from __future__ import annotations

from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

import torch
from bench_loop import Work
from bench_rounds import Here, Turn


class Plain:
    """The plain loop, run on request elsewhere: netspec tells the C library how to keep memory, for a whole process."""

    def __init__(self, work: Work) -> None:
        context = get_context("spawn")  # a copy of this process would have its memory's settings too
        self._pipe, theirs = context.Pipe()
        arguments = theirs, work, torch.get_num_threads()
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        theirs.close()

    def turn(self, iterations: int) -> Turn:
        """As `Here.turn`."""
        turn: Turn = self._ask("turn", iterations)
        return turn

    def losses(self, iterations: int) -> list[float]:
        """As `Loop.losses`."""
        losses: list[float] = self._ask("losses", iterations)
        return losses

    def _ask(self, method: str, iterations: int) -> Any:
        try:
            self._pipe.send((method, iterations))
            return self._pipe.recv()
        except (EOFError, BrokenPipeError):
            raise SystemExit("the process of the plain loop has ended") from None

    def __enter__(self) -> Plain:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pipe.close()
        self._process.join()


def _serve(pipe: Connection, work: Work, threads: int) -> None:
    """Answer until the other end closes."""
    torch.set_num_threads(threads)
    loop = work.loop()
    side = Here(loop, work.device)
    answers = {"turn": side.turn, "losses": loop.losses}
    with suppress(EOFError):
        while True:
            method, iterations = pipe.recv()
            pipe.send(answers[method](iterations))
