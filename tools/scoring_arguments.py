"""The arguments of the tools that score images: which net, and how images are prepared for it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from arguments import add_allow_python, add_layer_settings, add_net_arguments, net_options

if TYPE_CHECKING:
    from netspec.scoring import Preparation


def add_scoring_arguments(parser: argparse.ArgumentParser) -> None:
    """Let a tool take a net with its weights, a device, and what is said of images over the net's text."""
    parser.add_argument(
        "net", help="the net file, train/test or deploy, e.g. zoo/quickstart.prototxt, or a .caffemodel"
    )
    parser.add_argument(
        "--weights", metavar="FILE,...",
        help=".caffemodel, .caffemodel.h5 or .safetensors files, of which later ones win (a .caffemodel as the net "
        "brings its own)",
    )  # fmt: skip
    parser.add_argument("--names", metavar="FILE", help="the names of the classes, one a line (default: the data's)")
    parser.add_argument("--blob", default="", metavar="NAME", help="the scores, where the net has several outputs")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 (default: %(default)s)")
    parser.add_argument(
        "--mean", type=_numbers, default=(), metavar="B,G,R", help="in place of the text's: the mean of each channel"
    )
    parser.add_argument(
        "--mean-file", default="", metavar="FILE",
        help="in place of the text's: a mean image; of a net with an Input layer of another size, its channels' means",
    )  # fmt: skip
    parser.add_argument(
        "--std", type=_numbers, default=(), metavar="B,G,R", help="in place of the text's: divide by it then"
    )
    parser.add_argument("--scale", type=float, metavar="S", help="in place of the text's: (pixel - mean) * S")
    parser.add_argument(
        "--size",
        type=_size,
        metavar="N|H,W",
        help="resize images to it before the crop, of a net with an Input layer to a square one (default: as the net's "
        "data is)",
    )
    add_net_arguments(parser)
    add_layer_settings(parser)
    add_allow_python(parser)


def scorer_options(parser: argparse.ArgumentParser, args: argparse.Namespace) -> dict[str, Any]:
    """What was given for `add_scoring_arguments`, as `netspec.scoring.Scorer` takes it; SpecError, DataError where it
    is wrong."""
    from netspec.graph import joined_state
    from netspec.overrides import Overrides
    from netspec.schema.netspec_pb2 import TEST
    from netspec.scoring.text import is_stored

    chosen = net_options(args)
    options = {"blob": args.blob, "device": args.device, "allow_python": args.allow_python, "given": _preparation(args)}
    if is_stored(args.net):
        refuse_settings(parser, args)
        return options | {"net": args.net, "weights": args.weights or args.net}
    if not args.weights:
        parser.error("the following arguments are required: --weights")
    document = Overrides(args.settings, chosen["define"]).applied_to_net(args.net, TEST)
    state = joined_state(document, TEST, chosen["level"], chosen["stages"])
    return options | {"net": document, "weights": args.weights, "state": state}


def refuse_settings(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """End a tool where something is set in the text of a net that comes without one."""
    if args.settings or args.stages or args.level or args.define:
        parser.error(f"--set, --stage and --define are for net files: {args.net} is none")


def _preparation(args: argparse.Namespace) -> Preparation:
    from netspec.scoring import Preparation

    return Preparation(args.mean, args.mean_file, args.std, args.scale, args.size)


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(map(float, text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(f'"{text}" is no number, nor several with commas between them') from None


def _size(text: str) -> tuple[int, int]:
    sides = text.split(",")
    if len(sides) > 2 or not all(side.isascii() and side.isdigit() and int(side) for side in sides):
        raise argparse.ArgumentTypeError(f'"{text}" is no size in pixels: N or H,W')
    return int(sides[0]), int(sides[-1])
