#!/usr/bin/env python3
"""Prints what a net costs before it runs: shapes, parameters, multiply-adds and memory."""

import argparse
import sys

from arguments import add_allow_python, add_net_arguments, net_options


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("net", help="the net file, e.g. zoo/nin.prototxt")
    parser.add_argument("--phase", choices=["TRAIN", "TEST", "both"], default="both", help="default: %(default)s")
    add_net_arguments(parser, shapes_of="an input")
    add_allow_python(parser)
    args = parser.parse_args()

    from netspec import SpecError, readable_errors
    from netspec.summary import summarize, table

    tables, refused = [], []
    with readable_errors():
        options = net_options(args) | {"allow_python": args.allow_python}
        for phase in ["TRAIN", "TEST"] if args.phase == "both" else [args.phase]:
            try:
                tables.append(table(summarize(args.net, phase, **options)))
            except SpecError as error:
                refused.append(error)
        if not tables:
            raise refused[0]
        print("\n\n".join(tables))
    for reason in refused:  # many nets are made for one phase, or need a stage in the other
        print(f"the other phase cannot be built: {reason}", file=sys.stderr)


if __name__ == "__main__":
    main()
