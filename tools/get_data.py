#!/usr/bin/env python3
"""Fetch a data set and write it as LMDBs that the nets of the zoo read."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    sets = parser.add_subparsers(dest="set", required=True, metavar="SET")
    tiny = sets.add_parser("tiny-imagenet", help="Tiny ImageNet: 200 classes of 500 train images, 64x64 pixels")
    tiny.add_argument(
        "--from",
        dest="sources",
        nargs="+",
        type=Path,
        default=[],
        metavar="PATH",
        help="archives (.zip, .tar, .tar.gz) or folders to read; without it the set is downloaded",
    )
    tiny.add_argument("--out", type=Path, default=Path("data/tiny-imagenet"), help="the folder to write (%(default)s)")
    tiny.add_argument("--classes", type=int, metavar="N", help="keep the first N classes of wnids.txt")
    tiny.add_argument("--force", action="store_true", help="replace a set that is there already")
    return parser.parse_args()


def main() -> int:
    args = parse()
    # Imported late: --help answers at once.
    from netspec.data import tiny_imagenet
    from netspec.errors import DataError

    try:
        print(tiny_imagenet.make(args.out, args.sources, args.classes, args.force))
    except (DataError, OSError) as error:
        print(f"get_data: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"get_data: interrupted; nothing was written to {args.out}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
