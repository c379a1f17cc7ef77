"""The arguments that several tools take: about how a net file is read, and flags as Caffe's tools take them."""

from __future__ import annotations

import argparse
from typing import Any

_TRUE, _FALSE = ("true", "t", "yes", "y", "1"), ("false", "f", "no", "n", "0")


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


def add_switch(parser: argparse.ArgumentParser, name: str, help_text: str) -> None:
    """Let a tool take a flag that is on or off, as gflags has it: ``-gray``, ``--gray``, ``--gray=true``, ``--nogray``.

    A value of its own is part of the flag's name here, as what follows a flag after a space is another argument.
    """
    parser.add_argument(f"-{name}", f"--{name}", action="store_true", help=help_text)
    for on, values in ((True, _TRUE), (False, _FALSE)):
        forms = [f"{name}={value}" for value in values] + [f"no{name}"] * (not on)
        flags = [f"{dashes}{form}" for form in forms for dashes in ("-", "--")]
        parser.add_argument(*flags, dest=name, action="store_const", const=on, help=argparse.SUPPRESS)
