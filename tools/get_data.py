#!/usr/bin/env python3
"""Fetches a data set and writes it as LMDBs that the nets of the zoo read, with their mean and the classes' names."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

SETS = {
    "tiny-imagenet": ("tiny_imagenet", "Tiny ImageNet: 200 classes of 500 train images, 64x64 pixels"),
    "cifar-10": ("cifar10", "CIFAR-10: 10 classes of 5,000 train images, 32x32 pixels"),
    "mnist": ("mnist", "MNIST: 60,000 train images of handwritten digits, grey, 28x28 pixels"),
    "digits": ("digit_set", "1,500 train images of handwritten digits, grey, 8x8 pixels, which come with netspec"),
    "folder": ("folder_set", "images of your own: a folder with one folder for each class, or train/ and val/ of them"),
}
SOURCES = "archives (zip, tar), files or folders to read; without it the set is downloaded"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    sets = parser.add_subparsers(dest="set", required=True, metavar="SET")
    own = {name: sets.add_parser(name, help=text, description=text) for name, (_, text) in SETS.items()}
    for name in ("tiny-imagenet", "cifar-10", "mnist"):
        own[name].add_argument("--from", dest="sources", nargs="+", type=Path, default=[], metavar="PATH", help=SOURCES)
    own["tiny-imagenet"].add_argument("--classes", type=int, metavar="N", help="keep the first N classes of wnids.txt")
    folder = own["folder"]
    folder.add_argument("folder", type=Path, metavar="FOLDER", help="the folder to read")
    part = "val's part of each class (default: %(default)s)"
    folder.add_argument("--val-fraction", type=float, default=0.1, metavar="SHARE", help=part)
    seed = "decides which part, and the order of train (default: %(default)s)"
    folder.add_argument("--seed", type=int, default=0, metavar="N", help=seed)
    folder.add_argument("--size", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"), help="resize to this, in pixels")
    folder.add_argument("--gray", dest="colour", action="store_false", help="store one channel")
    skip = "leave out up to N files that are no images"
    folder.add_argument("--skip-damaged", type=int, default=0, metavar="N", help=skip)
    for name, one in own.items():
        out = "the folder to write (default: %(default)s)"
        one.add_argument("--out", type=Path, default=Path("data", name), metavar="FOLDER", help=out)
        one.add_argument("--force", action="store_true", help="replace a set that is there already")
    return parser.parse_args()


def main() -> int:
    options: dict[str, Any] = vars(parse())
    # Imported late: --help answers at once.
    from importlib import import_module

    from netspec import log_to_stderr
    from netspec.errors import DataError

    log_to_stderr()
    try:
        print(import_module(f"netspec.data.{SETS[options.pop('set')][0]}").make(**options))
    except (DataError, OSError) as error:
        print(f"get_data: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"get_data: interrupted; nothing was written to {options['out']}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
