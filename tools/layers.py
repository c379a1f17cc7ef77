#!/usr/bin/env python3
"""Explains layer types: the rule of each, its bottoms and tops, its fields with their defaults."""

import argparse


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("types", nargs="*", metavar="TYPE", help="such as Pooling; default: all of them")
    args = parser.parse_args()

    from netspec import SpecError, readable_errors
    from netspec.errors import nearest
    from netspec.reference import entry, layer_types, page

    with readable_errors():
        for name in args.types:
            if name not in layer_types():
                raise SpecError(f'there is no layer type "{name}"', "TYPE", name, hint=nearest(name, layer_types()))
        print("\n".join(map(entry, args.types)) if args.types else page())


if __name__ == "__main__":
    main()
