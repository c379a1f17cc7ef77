#!/usr/bin/env python3
"""Draws what the data layers of a net really give, with the labels, into a PNG: look before you train."""

import argparse
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, metavar="NET_OR_SOLVER")
    parser.add_argument("--phase", choices=["TRAIN", "TEST", "both"], default="both", help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=Path("batch.png"), metavar="FILE.png", help="default: %(default)s")
    parser.add_argument("--count", type=int, default=32, metavar="N", help="images of a layer (default: %(default)s)")
    parser.add_argument("--stage", action="append", default=[], dest="stages", help="a stage for the rules of a net")
    parser.add_argument("--level", type=int, default=0, help="the level for the rules of a net")
    parser.add_argument("--define", action="append", default=[], metavar="NAME=VALUE", help="the value of ${NAME}")
    args = parser.parse_args()
    if args.count < 1:
        parser.error("--count must be at least 1")

    from netspec import readable_errors
    from netspec.batch_sheet import draw_batches
    from netspec.templates import definitions

    with readable_errors():
        phases = ["TRAIN", "TEST"] if args.phase == "both" else [args.phase]
        define = definitions(args.define)
        print(draw_batches(args.file, args.out, phases, args.count, args.stages, args.level, define))
    print(args.out)


if __name__ == "__main__":
    main()
