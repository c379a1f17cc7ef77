#!/usr/bin/env python3
"""Kills a short training run at random moments, resumes it, and compares its end with that of an uninterrupted run."""

import argparse
import hashlib
import multiprocessing
import os
import random
import runpy
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

from netspec import Net

TESTS = Path(__file__).resolve().parent
TOOL = TESTS.parent / "tools" / "solve.py"
SOLVER = TESTS / "solver" / "digits.solver"
LAST = 60
"""max_iter of the solver file."""

fork = multiprocessing.get_context("fork")


def train(folder: Path, *options: str) -> None:
    """Run the tool in a folder; what it logs goes to a file there."""
    os.chdir(folder)
    sys.stderr = (folder / "log").open("w", buffering=1)
    sys.argv = [str(TOOL), str(SOLVER), "--set", "snapshot_prefix=run", *options]
    runpy.run_path(str(TOOL), run_name="__main__")


def start(folder: Path, *options: str) -> BaseProcess:
    """A process of its own that trains in a folder."""
    process = fork.Process(target=train, args=(folder, *options))
    process.start()
    return process


def finish(folder: Path) -> None:
    """Resume until the run has ended; a run that was killed before its first snapshot starts over."""
    options = ("--resume",) if list(folder.glob("*.solverstate")) else ()
    process = start(folder, *options)
    process.join()
    if process.exitcode:
        raise RuntimeError(f"{folder}: exit code {process.exitcode}\n{log_of(folder)}")


def time_of(folder: Path) -> float:
    """Run uninterrupted; the seconds of the training alone."""
    folder.mkdir()
    process = start(folder)
    wait(process, lambda: "Solving" in log_of(folder))
    begun = time.perf_counter()
    process.join()
    return time.perf_counter() - begun


def final_hashes(folder: Path) -> list[str]:
    """The SHA-256 of the last weights and of the last state: history, random states, place in the data and all."""
    files = (folder / f"run_iter_{LAST}.{suffix}" for suffix in ("caffemodel", "solverstate"))
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]


def log_of(folder: Path) -> str:
    path = folder / "log"
    return path.read_text() if path.exists() else ""


def wait(process: BaseProcess, until: Callable[[], bool]) -> None:
    """Wait for something, or for the end of the process."""
    while process.is_alive() and not until():
        time.sleep(0.0005)


def kill(folder: Path, number: signal.Signals, draw: random.Random, seconds: float) -> str:
    """Start a run and kill it: anywhere in its training, or (every other time) while a snapshot is being written.
    Returns what it was doing; nothing where it ended before."""
    process = start(folder)
    if draw.random() < 0.5:
        count = draw.randrange(1, 2 * LAST // 7)
        wait(process, lambda: log_of(folder).count("Snapshotting") >= count)
        time.sleep(draw.uniform(0, 0.005))
    else:
        wait(process, lambda: "Solving" in log_of(folder))
        time.sleep(draw.uniform(0, seconds))
    if not process.is_alive():
        return ""
    os.kill(process.pid or 0, number)
    process.join()
    if process.exitcode == 0:
        return ""
    return [line.partition("] ")[2] for line in log_of(folder).splitlines() if "] " in line][-1]


def killed_and_resumed(parent: Path, index: int, number: signal.Signals, draw: random.Random, seconds: float) -> Path:
    """The folder of a run that was killed once and ran to its end after that."""
    for attempt in range(100):
        folder = parent / f"{index}.{attempt}"
        folder.mkdir()
        if doing := kill(folder, number, draw, seconds):
            left = sorted(path.name for path in folder.glob("*.solverstate"))
            print(f"{index + 1:4d}  {number.name}  {len(left)} snapshots, last line: {doing}", flush=True)
            finish(folder)
            return folder
    raise RuntimeError("the run always ends before it is killed")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--signal", choices=["KILL", "INT"], default="KILL")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    args = parser.parse_args()
    # Makes torch load what it loads late, here and not in every fork.
    Net(SOLVER.with_suffix(".prototxt"), shapes={"data": (1, 1, 6, 6), "label": (1,)})
    draw = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as name:
        straight = Path(name) / "straight"
        seconds = time_of(straight)
        number = signal.Signals[f"SIG{args.signal}"]
        folders = [killed_and_resumed(Path(name), index, number, draw, seconds) for index in range(args.kills)]
        same = [final_hashes(folder) == final_hashes(straight) for folder in folders]
    print(f"{sum(same)} of {args.kills} identical")
    return 0 if all(same) else 1


if __name__ == "__main__":
    sys.exit(main())
