#!/usr/bin/env python3
"""Says what net, solver and weights files are, what of them would be refused and where, and what traps they hold.

The exit status is 1 where something would be refused. Data is not read beyond its first image, and no code is run.
"""

import argparse
import json
import sys

from arguments import add_net_arguments, net_options


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", metavar="FILE", help="a net, a solver, or weights: held against the nets")
    parser.add_argument("--format", choices=["text", "json"], default="text", help="default: %(default)s")
    add_net_arguments(parser, shapes_of="an input, or of what a layer makes that cannot be built")
    args = parser.parse_args()

    from netspec import readable_errors
    from netspec.check import Options, check

    with readable_errors():
        reports = check(args.files, Options(**net_options(args)))
        if args.format == "json":
            print(json.dumps([report.as_data() for report in reports], indent=2))
        else:
            print("\n\n".join(report.as_text() for report in reports))
    sys.exit(any(report.is_refused for report in reports))


if __name__ == "__main__":
    main()
