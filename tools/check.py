#!/usr/bin/env python3
"""Says what net, solver and weights files are, what of them would be refused and where, and what traps they hold.

The exit status is 1 where something would be refused. Data is not read beyond its first image, and no code is run.
"""

import argparse
import json
import sys


def shape(text: str) -> tuple[str, tuple[int, ...]]:
    """A blob's name and shape from ``data=1,3,64,64``."""
    name, _, numbers = text.partition("=")
    sizes = tuple(int(number) for number in numbers.split(","))
    if not name or min(sizes) < 1:
        raise ValueError
    return name, sizes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", metavar="FILE", help="a net, a solver, or weights: held against the nets")
    parser.add_argument("--format", choices=["text", "json"], default="text", help="default: %(default)s")
    parser.add_argument(
        "--shape", type=shape, action="append", default=[], metavar="BLOB=1,3,64,64", dest="shapes",
        help="the shape of an input, in place of the text's or the data's",
    )  # fmt: skip
    parser.add_argument("--stage", action="append", default=[], dest="stages", help="a stage for the rules of the net")
    parser.add_argument("--level", type=int, default=0, help="the level for the rules of the net")
    parser.add_argument(
        "--define", action="append", default=[], metavar="NAME=VALUE",
        help="the value of a variable in the text, as ${NAME}",
    )  # fmt: skip
    args = parser.parse_args()

    from netspec import readable_errors
    from netspec.check import Options, check
    from netspec.templates import definitions

    with readable_errors():
        options = Options(tuple(args.stages), args.level, dict(args.shapes), definitions(args.define))
        reports = check(args.files, options)
    if args.format == "json":
        print(json.dumps([report.as_data() for report in reports], indent=2))
    else:
        print("\n\n".join(report.as_text() for report in reports))
    sys.exit(any(report.is_refused for report in reports))


if __name__ == "__main__":
    main()
