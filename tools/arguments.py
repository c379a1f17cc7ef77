"""The arguments that several tools take, about how a net file is read."""

from __future__ import annotations

import argparse
from typing import Any


def shape(text: str) -> tuple[str, tuple[int, ...]]:
    """A blob's name and shape from ``data=1,3,64,64``."""
    name, _, numbers = text.partition("=")
    sizes = tuple(int(number) for number in numbers.split(","))
    if not name or min(sizes) < 1:
        raise ValueError
    return name, sizes


def add_net_arguments(parser: argparse.ArgumentParser, shapes_of: str) -> None:
    """Let a tool take what chooses the layers of a net, the values of its variables, and shapes of `shapes_of`."""
    parser.add_argument(
        "--shape", type=shape, action="append", default=[], metavar="BLOB=1,3,64,64", dest="shapes",
        help=f"the shape of {shapes_of}, in place of the text's or the data's",
    )  # fmt: skip
    parser.add_argument("--stage", action="append", default=[], dest="stages", help="a stage for the rules of the net")
    parser.add_argument("--level", type=int, default=0, help="the level for the rules of the net")
    parser.add_argument("--define", action="append", default=[], metavar="NAME=VALUE", help="the value of ${NAME}")


def net_options(args: argparse.Namespace) -> dict[str, Any]:
    """What was given for `add_net_arguments`, by the names that netspec has for it; SpecError where it is wrong."""
    from netspec.templates import definitions

    define = definitions(args.define)
    return {"stages": tuple(args.stages), "level": args.level, "shapes": dict(args.shapes), "define": define}
