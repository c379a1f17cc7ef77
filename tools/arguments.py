"""The arguments that several tools take: how a net is read and changed, and flags as Caffe's tools take them."""

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


def add_net_arguments(parser: argparse.ArgumentParser, shapes_of: str = "") -> None:
    """Let a tool take what chooses the layers of a net, the values of its variables, and shapes of `shapes_of`."""
    if shapes_of:
        parser.add_argument(
            "--shape", type=shape, action="append", default=[], metavar="BLOB=1,3,64,64", dest="shapes",
            help=f"the shape of {shapes_of}, in place of the text's or the data's",
        )  # fmt: skip
    stage = "a stage for the rules of the net"
    parser.add_argument("--stage", action="append", default=[], metavar="NAME", dest="stages", help=stage)
    parser.add_argument("--level", type=int, default=0, metavar="N", help="the level for the rules of the net")
    add_define(parser)


def net_options(args: argparse.Namespace) -> dict[str, Any]:
    """What was given for `add_net_arguments`, by the names that netspec has for it; SpecError where it is wrong."""
    from netspec.templates import definitions

    shapes = {"shapes": dict(args.shapes)} if "shapes" in args else {}
    return {"stages": tuple(args.stages), "level": args.level, "define": definitions(args.define), **shapes}


def add_define(parser: argparse.ArgumentParser) -> None:
    """Let a tool take the values of a text's variables."""
    parser.add_argument("--define", action="append", default=[], metavar="NAME=VALUE", help="the value of ${NAME}")


def add_allow_python(parser: argparse.ArgumentParser) -> None:
    """Let a tool take the user's leave to run their code."""
    parser.add_argument("--allow-python", action="store_true", help="let the Python layers of the net run their code")


def add_layer_settings(parser: argparse.ArgumentParser) -> None:
    """Let a tool take settings of the layers of a net."""
    text = "override a field of a layer (data.data_param.batch_size=50)"
    parser.add_argument(
        "--set", action=_LayerSetting, default=[], metavar="LAYER.FIELD=VALUE", dest="settings", help=text
    )


class _LayerSetting(argparse.Action):
    """Refuses the settings of a solver, as there is none."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, value: Any, option: str | None = None
    ) -> None:
        if "." not in value.partition("=")[0]:
            parser.error(f"{option} {value}: {self.metavar} is wanted")
        namespace.settings = [*namespace.settings, value]


def add_form_arguments(parser: argparse.ArgumentParser, of: str = "") -> None:
    """Let a tool take the colour and the size that images get, by the flags of Caffe's convert_imageset; `of` tells
    which images."""
    add_switch(parser, "gray", f"{of}take one channel")
    for side in ("width", "height"):
        flags = f"-resize_{side}", f"--resize_{side}"
        parser.add_argument(*flags, type=int, default=0, metavar=side[0].upper(), help=f"{of}resize to it, in pixels")


def add_switch(parser: argparse.ArgumentParser, name: str, help_text: str) -> None:
    """Let a tool take a flag that is on or off, as gflags has it: ``-gray``, ``--gray``, ``--gray=true``, ``--nogray``.

    A value of its own is part of the flag's name here, as what follows a flag after a space is another argument.
    """
    parser.add_argument(f"-{name}", f"--{name}", action="store_true", help=help_text)
    for on, values in ((True, _TRUE), (False, _FALSE)):
        forms = [f"{name}={value}" for value in values] + [f"no{name}"] * (not on)
        flags = [f"{dashes}{form}" for form in forms for dashes in ("-", "--")]
        parser.add_argument(*flags, dest=name, action="store_const", const=on, help=argparse.SUPPRESS)
