#!/usr/bin/env python3
"""Lets every system call of a snapshot fail (KILL, ENOSPC, EIO), with strace, and looks at what can be resumed then.

A process that is about to write its second snapshot is forked for every case, and strace makes one of its calls fail.
Afterwards the newest snapshot must be the one before or the new one, whole; a failure must have been reported with its
path and cause, and the run must be able to write a snapshot when the next is due.
"""

import argparse
import errno
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import torch

from netspec import Solver

SOLVER = Path(__file__).resolve().parent / "solver" / "digits.solver"
FORMATS = ("BINARYPROTO", "HDF5", "SAFETENSORS")
FAULTS = ("KILL", "ENOSPC", "EIO")
OLD, NEW = 3, 6
"""The iterations of the two snapshots."""
_FAILS_NOT = ("futex", "brk", "mmap", "munmap", "madvise", "mremap", "rt_sigaction", "rt_sigprocmask", "getpid",
              "gettid", "rt_sigreturn", "clock_nanosleep", "sched_yield", "rt_sigtimedwait", "mprotect")  # fmt: skip
"""Calls that have nothing to do with files: only KILL is tried there."""
_CALL = re.compile(r"(?:\d+ +)?(\w+)\(")


def built(folder: Path, snapshot_format: str) -> Solver:
    """A run that keeps one snapshot, with averaged weights."""
    fields: dict[str, Any] = {"snapshot_format": snapshot_format, "snapshot_keep": 1, "ema_decay": 0.9, "snapshot": 0}
    return Solver(SOLVER, snapshot_prefix=str(folder / "run"), **fields)


def weights_of(solver: Solver) -> list[torch.Tensor]:
    live = [*(blob for layer in solver.net.layer_params.values() for blob in layer), *solver.update.history]
    assert solver.average
    return [blob.detach().clone() for blob in (*live, *solver.average.values)]


class Case:
    """The folder with the old snapshot, the process before the new one, and what both snapshots hold."""

    def __init__(self, folder: Path, snapshot_format: str) -> None:
        self.folder, self.kept = folder / "run", folder / "kept"
        self.kept.mkdir()
        first = built(self.kept, snapshot_format)
        first.step(OLD)
        first.snapshot()
        self.folder.mkdir()
        self.solver, self.other = built(self.folder, snapshot_format), built(self.folder, snapshot_format)
        self.prepare()
        self.solver.resume()
        self.expected = {OLD: weights_of(self.solver)}
        self.solver.step(NEW - OLD)
        self.expected[NEW] = weights_of(self.solver)

    def prepare(self) -> None:
        """Put the old snapshot, and nothing else, into the folder."""
        shutil.rmtree(self.folder)
        shutil.copytree(self.kept, self.folder)

    def run(self, *options: str) -> tuple[int, list[str]]:
        """Write the new snapshot in a process of its own under strace; how that ended, and what was logged there."""
        self.prepare()
        log = self.folder.parent / "log"
        descriptor = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        ready, is_ready = os.pipe()
        child = os.fork()
        if not child:
            os.write(is_ready, b".")
            self._write_in_child(descriptor)
        os.read(ready, 1)  # from here on the child makes no call but the one that waits
        strace = subprocess.Popen(["strace", "-p", str(child), *options], stdout=-3, stderr=-3)
        while not _is_traced(child):
            if strace.poll() is not None:
                os.kill(child, signal.SIGKILL)
                sys.exit("strace cannot trace here")
            time.sleep(0.001)
        os.kill(child, signal.SIGUSR2)
        _, status = os.waitpid(child, 0)
        strace.wait()
        for opened in (descriptor, ready, is_ready):
            os.close(opened)
        return os.waitstatus_to_exitcode(status), log.read_text().splitlines()

    def _write_in_child(self, descriptor: int) -> None:
        """Wait until strace is there, write, and report into a file that is open already."""
        signal.sigwait([signal.SIGUSR2])
        lines: list[str] = []
        logging.getLogger("netspec").handlers = [_Lines(lines)]
        code = 1
        try:
            self.solver._snapshot_or_log()
            code = 0
        finally:
            for _ in range(3):  # one of these writes may be the call that fails
                try:
                    os.pwrite(descriptor, "\n".join(lines).encode(), 0)
                    break
                except OSError:
                    continue
            os._exit(code)

    def problem(self, call: str, fault: str, code: int, lines: list[str]) -> str:
        """What is wrong after a case; nothing where all is well."""
        came = fault == "KILL" and not (code == 0 and call in _FAILS_NOT)  # calls for memory do not always come
        if code != (-signal.SIGKILL if came else 0):
            return f"the process ended with {code}"
        path = self.other.resume()
        iteration = self.other.iter
        if not all(map(torch.equal, weights_of(self.other), self.expected[iteration])):
            return f"{path} was loaded, but it is neither the old nor the new one"
        failed = [line for line in lines if "cannot be" in line or "the run goes on" in line]
        if fault != "KILL" and iteration == OLD and not failed:
            return "nothing was logged of a snapshot that was not made"
        cause = "" if fault == "KILL" else os.strerror(getattr(errno, fault))
        if any(str(self.folder) not in line or cause not in line for line in failed):
            return f"path or cause is missing in: {failed}"
        self.other.step(NEW - iteration)
        self.other.snapshot()  # what a fault left behind must not be in the way of the next one
        left = sorted(file.name for file in self.folder.iterdir() if f"iter_{NEW}" not in file.name)
        return f"left behind: {left}" if any(".tmp" in name or "iter" in name for name in left) else ""


class _Lines(logging.Handler):
    """Keeps the lines in memory: the files of the log are not what is tried here."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(record.getMessage())


def _is_traced(process: int) -> bool:
    status = Path(f"/proc/{process}/status").read_text()
    return "TracerPid:\t0\n" not in status


def calls_of(case: Case) -> Counter[str]:
    """How often every system call is made by a snapshot to which nothing happens."""
    trace = case.folder.parent / "trace"
    code, _ = case.run("-o", str(trace))
    assert code == 0
    found = Counter(match[1] for line in trace.read_text().splitlines() if (match := _CALL.match(line)))
    for own in ("rt_sigtimedwait", "restart_syscall", "pwrite64", "exit_group"):  # the waiting, the report, the end
        found.pop(own, None)
    return found


def cases(calls: Counter[str], faults: list[str]) -> Iterator[tuple[str, int, str]]:
    for name, count in calls.items():
        for number in range(1, count + 1):
            yield from ((name, number, fault) for fault in faults if fault == "KILL" or name not in _FAILS_NOT)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--format", choices=FORMATS, action="append", dest="formats")
    parser.add_argument("--fault", choices=FAULTS, action="append", dest="faults")
    parser.add_argument("--every", type=int, default=1, help="try only every n-th case")
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    if shutil.which("strace") is None:
        sys.exit("strace is not installed")
    logging.getLogger("netspec").addHandler(logging.NullHandler())
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])  # in the children too: they wait for it
    tried = wrong = 0
    for snapshot_format in args.formats or FORMATS:
        with tempfile.TemporaryDirectory() as name:
            case = Case(Path(name), snapshot_format)
            calls = calls_of(case)
            chosen = list(cases(calls, args.faults or list(FAULTS)))[:: args.every]
            outcomes: Counter[int] = Counter()
            for call, number, fault in chosen:
                what = f"signal=SIG{fault}" if fault == "KILL" else f"error={fault}"
                code, lines = case.run("-o", os.devnull, "-e", f"inject={call}:{what}:when={number}")
                problem = case.problem(call, fault, code, lines)
                outcomes[case.other.iter] += 1
                if problem or args.verbose:
                    print(f"{snapshot_format}: {fault} at {call} {number}: {problem or lines}", flush=True)
                wrong += bool(problem)
            tried += len(chosen)
            print(f"{snapshot_format}: {sum(calls.values())} system calls, {len(chosen)} cases")
    print(f"{tried - wrong} of {tried} as promised")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
