"""No more threads than the process may use processors: PyTorch starts one for each core, in a small container too."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import torch

from netspec.log import logger

GROUPS = Path("/sys/fs/cgroup")
OF_THE_PROCESS = Path("/proc/self/cgroup")

_SET_BY_THE_USER = "OMP_NUM_THREADS", "MKL_NUM_THREADS"


def limit_threads() -> None:
    """Let torch compute with no more threads than the control group of the process has processors' time for (docker's
    ``--cpus``), unless the environment says how many. More would wait for each other most of the time."""
    if any(name in os.environ for name in _SET_BY_THE_USER):
        return
    processors = min(_quotas(), default=float("inf"))
    if processors < torch.get_num_threads():
        threads = max(1, int(processors))
        torch.set_num_threads(threads)
        logger.info("Threads: %d, since the process may use %g processors", threads, processors)


def _quotas() -> Iterator[float]:
    """The limits, in processors, of the control groups that the process is in, of both versions of Linux's."""
    with suppress(OSError):
        for line in OF_THE_PROCESS.read_text().splitlines():
            _, controllers, group = line.split(":", 2)
            if controllers == "" or "cpu" in controllers.split(","):
                own = GROUPS / controllers / group.strip("/")
                for folder in (own, *own.parents):
                    yield from _quota(folder)
                    if folder == GROUPS:
                        break


def _quota(folder: Path) -> Iterator[float]:
    """The limit of one group, where it has one."""
    with suppress(OSError, ValueError):
        quota, period = (folder / "cpu.max").read_text().split()
        yield int(quota) / int(period)  # without a limit the quota is "max"
    with suppress(OSError, ValueError):
        limit, of = (int((folder / f"cpu.cfs_{what}_us").read_text()) for what in ("quota", "period"))
        if limit > 0:
            yield limit / of
