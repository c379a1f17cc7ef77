#!/usr/bin/env python3
"""Writes the deploy view of a net: its data layers become inputs, its losses the softmax inside them, and what only
feeds losses goes. With the trained weights it gives the scores of the train/test net."""

import argparse
import sys

from arguments import add_layer_settings, add_net_arguments, net_options
from scoring_arguments import refuse_settings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("net", help="a train/test net, e.g. zoo/nin.prototxt, or a .caffemodel")
    parser.add_argument("--out", metavar="FILE", help="where the text goes (default: the screen)")
    add_net_arguments(parser, shapes_of="an input")
    add_layer_settings(parser)
    args = parser.parse_args()

    from pathlib import Path

    from netspec import readable_errors
    from netspec.files import write_whole
    from netspec.graph import joined_state
    from netspec.overrides import Overrides
    from netspec.schema.netspec_pb2 import TEST
    from netspec.scoring.deploy_text import deploy_text
    from netspec.scoring.text import is_stored

    with readable_errors():
        options = net_options(args)
        net, state = args.net, None
        if is_stored(args.net):
            refuse_settings(parser, args)
        else:
            net = Overrides(args.settings, options["define"]).applied_to_net(args.net, TEST)
            state = joined_state(net, TEST, options["level"], options["stages"])
        text = deploy_text(net, state, options["shapes"])
        if args.out:
            write_whole(Path(args.out), text.encode())
        else:
            sys.stdout.write(text)


if __name__ == "__main__":
    main()
