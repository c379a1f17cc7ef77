#!/usr/bin/env python3
"""Draws what the data layers of a net really give, with the labels, into a PNG: look before you train."""

import argparse
from pathlib import Path

from arguments import add_net_arguments, net_options


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE", help="a net, or a solver: its train net and first test net")
    parser.add_argument("--phase", choices=["TRAIN", "TEST", "both"], default="both", help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=Path("batch.png"), metavar="FILE.png", help="default: %(default)s")
    parser.add_argument("--count", type=int, default=32, metavar="N", help="images of a layer (default: %(default)s)")
    add_net_arguments(parser)
    args = parser.parse_args()
    if args.count < 1:
        parser.error("--count must be at least 1")

    from netspec import readable_errors
    from netspec.batch_sheet import draw_batches

    with readable_errors():
        phases = ["TRAIN", "TEST"] if args.phase == "both" else [args.phase]
        print(draw_batches(args.file, args.out, phases, args.count, **net_options(args)))
    print(args.out)


if __name__ == "__main__":
    main()
