#!/usr/bin/env python3
"""Compares the speed of netspec with that of the same nets, loop and data written by hand in PyTorch."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench_rounds import Result, Settings

BATCHES = {
    "nin": 64, "nin_imagenet": 100, "alexnet": 100, "resnet18": 64, "resnet18_3x3": 32, "vgg16": 32, "googlenet": 64,
    "densenet161": 32,
}  # fmt: skip
"""The nets, and their images a batch where only steps are measured."""

WITH_DATA = ["nin", "alexnet"]
"""The nets that are measured with data unless others are named."""

BATCH_ON_A_GPU = 128

BATCH_WITH_DATA = 100


def nets(text: str) -> list[str]:
    """The names in ``nin,alexnet``."""
    names = text.split(",")
    if not set(names) <= set(BATCHES):
        raise ValueError
    return names


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    what = (
        "nets: steps on one batch; runs: whole runs; data: decoding, feeding, and runs against one batch (%(default)s)"
    )
    parser.add_argument("what", nargs="?", choices=("nets", "runs", "data"), default="nets", help=what)
    named = f"of {', '.join(BATCHES)} (all; with data: {', '.join(WITH_DATA)})"
    parser.add_argument("--nets", type=nets, metavar="NET,...", help=named)
    parser.add_argument(
        "--mode", choices=("exact", "default", "fast"), default="default", help="the solver's (%(default)s)"
    )
    batches = f"images a batch (the net's own, 32 to 100; on a GPU {BATCH_ON_A_GPU}; with data {BATCH_WITH_DATA})"
    parser.add_argument("--batch", type=int, help=batches)
    parser.add_argument("--rounds", type=int, default=3, help="rounds that count, of all sides (%(default)s)")
    parser.add_argument("--seconds", type=float, default=4, help="about how long a side of a round runs (%(default)s)")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="a set from tools/get_data.py (default: noise)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 (%(default)s)")
    parser.add_argument("--threads", type=int, help="threads that torch computes with (default: torch's choice)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    args = parser.parse_args()
    if min(args.batch or 1, args.rounds, args.threads or 1) < 1:
        parser.error("--batch, --rounds and --threads must be at least 1")
    return args


def main() -> None:
    args = parse()
    import torch

    from netspec import readable_errors

    if args.threads:
        torch.set_num_threads(args.threads)
    results = []
    print(f"{args.mode} mode, {args.device}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"{'':49}{'other':>9}{'netspec':>9}   value (least, most)   mark")
    with readable_errors():
        for result in measure(args):
            print(line(result), flush=True)
            results.append(asdict(result))
    if args.json:
        settings = {name: str(value) for name, value in vars(args).items()}
        settings |= {"torch": torch.__version__, "threads": str(torch.get_num_threads())}
        args.json.write_text(json.dumps({"settings": settings, "results": results}, indent=1) + "\n")


def measure(args: argparse.Namespace) -> Iterator[Result]:
    """All results, as they come."""
    from bench_rounds import Settings

    batch = args.batch or BATCH_WITH_DATA
    settings = Settings(batch, args.rounds, args.seconds, args.device, args.mode)
    if args.what == "nets":
        yield from measure_nets(args, settings)
        return
    with TemporaryDirectory() as folder:
        yield from measure_data(args, settings, Path(folder))


def measure_nets(args: argparse.Namespace, settings: Settings) -> Iterator[Result]:
    """The results of one batch again and again; on a GPU in fast mode how near that comes to its limits too."""
    from bench_steps import measure_step

    is_gpu = settings.kind == "cuda"
    for name in args.nets or BATCHES:
        own = replace(settings, batch=args.batch or (BATCH_ON_A_GPU if is_gpu else BATCHES[name]))
        yield from measure_step(name, own)
        if is_gpu and args.mode == "fast":
            from bench_gpu import measure_limits

            yield from measure_limits(name, own)


def measure_data(args: argparse.Namespace, settings: Settings, folder: Path) -> Iterator[Result]:
    """The results that need data; `folder` is for what has to be made."""
    from bench_data import make_set, write_files
    from bench_feeding import measure_feeding, measure_first_epoch
    from bench_nets import CLASSES
    from bench_runs import measure_frozen, measure_run

    from netspec.data import LmdbStore

    data, files = args.data or folder / "set", folder / "files"
    if args.data is None:
        make_set(data, CLASSES)
    files.mkdir()
    write_files(LmdbStore(data / "train_lmdb"), files)
    if args.what == "runs":
        for name in args.nets or WITH_DATA:
            yield from measure_run(name, data, files, settings)
        return
    yield measure_first_epoch(data, files, settings)
    yield measure_feeding(data, files, settings)
    for name in args.nets or WITH_DATA:
        yield measure_frozen(name, data, settings)


def line(result: Result) -> str:
    """One row of the table."""
    speeds = [f"{speed:9.1f}" if speed is not None else " " * 9 for speed in (result.by_hand, result.netspec)]
    value = f"{result.value:.3f} ({result.least:.3f}, {result.most:.3f})"
    met = {True: "met", False: "MISSED", None: ""}[result.met]
    dropped = f"{result.dropped} of {result.rounds} rounds dropped" if result.dropped else ""
    return f"{result.net:13}{result.what:36}{''.join(speeds)}   {value:22}{result.mark:8}{met:8}{dropped}".rstrip()


if __name__ == "__main__":
    main()
