#!/usr/bin/env python3
"""Prints what a net costs before it runs: shapes, parameters, multiply-adds and memory."""

import argparse


def shape(text: str) -> tuple[str, tuple[int, ...]]:
    """A blob's name and shape from ``data=1,3,64,64``."""
    name, _, numbers = text.partition("=")
    sizes = tuple(int(number) for number in numbers.split(","))
    if not name or min(sizes) < 1:
        raise ValueError
    return name, sizes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("net", help="the net file, e.g. zoo/nin.prototxt")
    parser.add_argument("--phase", choices=["TRAIN", "TEST", "both"], default="both", help="default: %(default)s")
    parser.add_argument(
        "--shape", type=shape, action="append", default=[], metavar="BLOB=1,3,64,64", dest="shapes",
        help="the shape of an input, in place of the text's or the data's",
    )  # fmt: skip
    parser.add_argument("--stage", action="append", default=[], dest="stages", help="a stage for the rules of the net")
    parser.add_argument("--level", type=int, default=0, help="the level for the rules of the net")
    parser.add_argument("--define", action="append", default=[], metavar="NAME=VALUE", help="the value of ${NAME}")
    parser.add_argument("--allow-python", action="store_true", help="let the Python layers of the net run their code")
    args = parser.parse_args()

    from netspec import readable_errors
    from netspec.summary import summarize, table
    from netspec.templates import definitions

    phases = ["TRAIN", "TEST"] if args.phase == "both" else [args.phase]
    with readable_errors():
        options = {"stages": args.stages, "level": args.level, "allow_python": args.allow_python}
        options |= {"shapes": dict(args.shapes), "define": definitions(args.define)}
        tables = [table(summarize(args.net, phase, **options)) for phase in phases]
    print("\n\n".join(tables))


if __name__ == "__main__":
    main()
