#!/usr/bin/env python3
"""Compares the speed of netspec with that of the same nets, loop and data written by hand in PyTorch."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench_runs import Result

NETS = ("nin", "alexnet")


def nets(text: str) -> list[str]:
    """The names in ``nin,alexnet``."""
    names = text.split(",")
    if not set(names) <= set(NETS):
        raise ValueError
    return names


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    what = "nets: their training; data: decoding, feeding, and training on data against one batch (%(default)s)"
    parser.add_argument("what", nargs="?", choices=("nets", "data"), default="nets", help=what)
    parser.add_argument("--nets", type=nets, default=list(NETS), metavar="NET,...", help=f"of {', '.join(NETS)} (all)")
    parser.add_argument("--batch", type=int, default=100, help="images a batch (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of both sides (%(default)s)")
    parser.add_argument("--seconds", type=float, default=4, help="about how long a side of a round runs (%(default)s)")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="a set from tools/get_data.py (default: noise)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 (%(default)s)")
    parser.add_argument("--threads", type=int, help="threads that torch computes with (default: torch's choice)")
    parser.add_argument("--channels-last", action="store_true", help="lay out the hand-written side channels last too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here too")
    args = parser.parse_args()
    if min(args.batch, args.rounds, args.threads or 1) < 1:
        parser.error("--batch, --rounds and --threads must be at least 1")
    return args


def main() -> None:
    args = parse()
    import torch

    from netspec import readable_errors

    if args.threads:
        torch.set_num_threads(args.threads)
    results = []
    print(f"batch {args.batch}, {args.device}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"{'':45}{'by hand':>9}{'netspec':>9}   value (least, most)   mark")
    with readable_errors(), TemporaryDirectory() as folder:
        for result in measure(args, Path(folder)):
            print(line(result), flush=True)
            results.append(asdict(result))
    if args.json:
        settings = {name: str(value) for name, value in vars(args).items()}
        args.json.write_text(json.dumps({"settings": settings, "results": results}, indent=1) + "\n")


def measure(args: argparse.Namespace, folder: Path) -> Iterator[Result]:
    """All results, as they come; `folder` is for the data that has to be made."""
    from bench_data import CLASSES, make_set, write_files
    from bench_feeding import measure_feeding, measure_first_epoch
    from bench_runs import Settings, measure_frozen, measure_run, measure_step

    from netspec.data import LmdbStore

    settings = Settings(args.batch, args.rounds, args.seconds, args.device, args.channels_last)
    data, files = args.data or folder / "set", folder / "files"
    if args.data is None:
        make_set(data, CLASSES)
    files.mkdir()
    write_files(LmdbStore(data / "train_lmdb"), files)
    if args.what == "data":
        yield measure_first_epoch(data, files, settings)
        yield measure_feeding(data, files, settings)
        for name in args.nets:
            yield measure_frozen(name, data, settings)
        return
    for name in args.nets:
        yield from measure_step(name, settings)
        yield from measure_run(name, data, files, settings)


def line(result: Result) -> str:
    """One row of the table."""
    speeds = [f"{speed:9.1f}" if speed is not None else " " * 9 for speed in (result.by_hand, result.netspec)]
    value = f"{result.value:.3f} ({result.least:.3f}, {result.most:.3f})"
    met = {True: "met", False: "MISSED", None: ""}[result.met]
    return f"{result.net:8}{result.what:37}{''.join(speeds)}   {value:22}{result.mark:8}{met}".rstrip()


if __name__ == "__main__":
    main()
