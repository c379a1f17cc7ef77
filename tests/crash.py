#!/usr/bin/env python3
"""Kills or signals a short training run at random moments, resumes it, and compares its end with that of an
uninterrupted run. The formats of snapshots take turns.

A run that is asked to stop must have its own exit code and say last how to go on; that command is then followed.
"""

import argparse
import hashlib
import multiprocessing
import os
import random
import runpy
import shlex
import shutil
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
ENDINGS = {
    "BINARYPROTO": ("caffemodel", "solverstate"),
    "HDF5": ("caffemodel.h5", "solverstate.h5"),
    "SAFETENSORS": ("safetensors", "solverstate"),
}
"""How the files of each snapshot_format end."""

fork = multiprocessing.get_context("fork")


def train(folder: Path, *arguments: str) -> None:
    """Run the tool in a folder; what it logs goes to a file there."""
    os.chdir(folder)
    sys.stderr = (folder / "log").open("w", buffering=1)
    sys.argv = [str(TOOL), *arguments]
    sys.path.insert(0, str(TOOL.parent))  # as Python does for a script
    runpy.run_path(str(TOOL), run_name="__main__")


def start(folder: Path, *arguments: str) -> BaseProcess:
    """A process of its own that trains in a folder, by default the folder's run."""
    process = fork.Process(target=train, args=(folder, *(arguments or own_arguments(folder))))
    process.start()
    return process


def own_arguments(folder: Path) -> list[str]:
    """Those of the run of a folder, which is named after its snapshot_format."""
    settings = ("snapshot_prefix=run", f"snapshot_format={format_of(folder)}", "ema_decay=0.9")
    return [str(SOLVER), *(word for setting in settings for word in ("--set", setting))]


def format_of(folder: Path) -> str:
    return folder.name.partition(".")[0]


def finish(folder: Path) -> None:
    """Resume until the run has ended, as its last line says where there is one; a run that was killed before its first
    snapshot starts over."""
    command = log_of(folder).rpartition("resume with: ")[2]
    arguments = shlex.split(command)[2:] if "resume with: " in log_of(folder) else own_arguments(folder)
    if "--resume" not in arguments and list(folder.glob("run_iter_*.solverstate*")):
        arguments.append("--resume")
    process = start(folder, *arguments)
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
    """The SHA-256 of the last weights, their average and the last state: history, random states, place in the data."""
    weights, state = ENDINGS[format_of(folder)]
    files = (folder / f"run_iter_{LAST}{ending}" for ending in (f".{weights}", f"_ema.{weights}", f".{state}"))
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
    Returns what it was doing, and for how long it went on; nothing where it ended before."""
    process = start(folder)
    if draw.random() < 0.5:
        count = draw.randrange(1, 3 * LAST // 7)
        wait(process, lambda: log_of(folder).count("Snapshotting") >= count)
        time.sleep(draw.uniform(0, 0.005))
    else:
        wait(process, lambda: "Solving" in log_of(folder))
        time.sleep(draw.uniform(0, seconds))
    doing = [line.partition("] ")[2] for line in log_of(folder).splitlines() if "] " in line][-1:]
    if not process.is_alive():
        return ""
    os.kill(process.pid or 0, number)
    killed = time.perf_counter()
    process.join()
    took = time.perf_counter() - killed
    if f"run_iter_{LAST}" in "".join(doing) or (process.exitcode == 0) != (number == signal.SIGHUP):
        return ""
    if number not in (signal.SIGKILL, signal.SIGHUP):
        last = log_of(folder).splitlines()[-1]
        if process.exitcode != 128 + number or not last.startswith("resume with: "):
            raise RuntimeError(f"{folder}: exit code {process.exitcode}\n{log_of(folder)}")
    return f"ended after {1000 * took:.0f} ms, killed after: {''.join(doing)}"


def killed_and_resumed(parent: Path, name: str, number: signal.Signals, draw: random.Random, seconds: float) -> Path:
    """The folder of a run that was killed once and ran to its end after that."""
    for attempt in range(100):
        folder = parent / f"{name}.{attempt}"
        folder.mkdir()
        if doing := kill(folder, number, draw, seconds):
            left = len(list(folder.glob("run_iter_*.solverstate*")))
            print(f"{name:15s}  {number.name}  {left} snapshots, {doing}", flush=True)
            if number != signal.SIGHUP:
                finish(folder)
            return folder
    raise RuntimeError("the run always ends before it is killed")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--signal", choices=["KILL", "INT", "TERM", "USR1", "HUP"], nargs="+", default=["KILL"],
                        help="several take turns")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    args = parser.parse_args()
    # Makes torch load what it loads late, here and not in every fork.
    Net(SOLVER.with_suffix(".prototxt"), shapes={"data": (1, 1, 6, 6), "label": (1,)})
    draw = random.Random(args.seed)
    same = 0
    with tempfile.TemporaryDirectory() as name:
        seconds = {kind: time_of(Path(name) / f"{kind}.straight") for kind in ENDINGS}
        for index in range(args.kills):
            kind = list(ENDINGS)[index % len(ENDINGS)]
            number = signal.Signals[f"SIG{args.signal[index % len(args.signal)]}"]
            folder = killed_and_resumed(Path(name), f"{kind}.{index}", number, draw, seconds[kind])
            same += final_hashes(folder) == final_hashes(Path(name) / f"{kind}.straight")
            shutil.rmtree(folder)
    print(f"{same} of {args.kills} identical")
    return 0 if same == args.kills else 1


if __name__ == "__main__":
    sys.exit(main())
