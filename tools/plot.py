#!/usr/bin/env python3
"""Draws loss, accuracy and rate of one or several runs into one picture."""

import argparse
from pathlib import Path


def picture(text: str) -> Path:
    """The name of a picture that can be drawn."""
    path = Path(text)
    if path.suffix not in (".png", ".svg"):
        raise argparse.ArgumentTypeError(f"{text} ends neither in .png nor in .svg")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "runs", nargs="*", metavar="RUN",
        help="the folder of a run, its log.csv, the prefix of its snapshots, or a log of Caffe's",
    )  # fmt: skip
    parser.add_argument("--lr", nargs="+", default=[], metavar="SOLVER", help="draw the rates of these solver files")
    parser.add_argument("--out", required=True, type=picture, metavar="FILE", help="the picture: .png or .svg")
    args = parser.parse_args()
    if bool(args.runs) == bool(args.lr):
        parser.error("give runs, or solver files after --lr")

    from netspec import readable_errors
    from netspec.curves import rates_ahead, read_curves
    from netspec.plot import draw_curves, draw_rates
    from netspec.upgrade import solver_document

    with readable_errors():
        if args.runs:
            draw_curves([read_curves(run) for run in args.runs], args.out)
        else:
            documents = {name: solver_document(name) for name in args.lr}
            flat = [name for name, document in documents.items() if document.message.lr_policy == "plateau"]
            notes = dict.fromkeys(flat, "drops where a test is no better")
            draw_rates({name: rates_ahead(document) for name, document in documents.items()}, notes, args.out)
    print(args.out)


if __name__ == "__main__":
    main()
