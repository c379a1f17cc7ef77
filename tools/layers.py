#!/usr/bin/env python3
"""Explains layer types: the rule of each, its bottoms and tops, its fields with their defaults. And messages."""

import argparse
import sys
from collections.abc import Iterable
from difflib import get_close_matches


def found(wanted: str, known: Iterable[str]) -> str:
    """The layer type or message of a name in any case of letters; where there is none, the program ends with the
    nearest ones."""
    by_lower = {name.lower(): name for name in known}
    if name := by_lower.get(wanted.lower()):
        return name
    near = [lower for lower in by_lower if wanted.lower() in lower] or get_close_matches(wanted.lower(), by_lower)
    hint = f"; did you mean {', '.join(by_lower[lower] for lower in near[:5])}?" if near else ""
    sys.exit(f'error: there is no layer type or message "{wanted}"{hint}')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "types", nargs="*", metavar="TYPE", help="such as Pooling, or TransformationParameter; default: all types"
    )
    args = parser.parse_args()

    from netspec import readable_errors
    from netspec.reference import explained, layer_types, message_names, page

    names = [found(name, [*layer_types(), *message_names()]) for name in args.types]
    with readable_errors():
        print("\n".join(map(explained, names)) if names else page())


if __name__ == "__main__":
    main()
