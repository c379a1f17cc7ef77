#!/usr/bin/env python3
"""Tests a net with given weights; what `caffe test` was. Sees every record of its data exactly once."""

import argparse

from arguments import add_allow_python, add_layer_settings, add_net_arguments, net_options


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("net", help="the net file, e.g. zoo/quickstart.prototxt")
    parser.add_argument(
        "--weights", metavar="FILE,...", required=True,
        help=".caffemodel, .caffemodel.h5 or .safetensors files, of which later ones win",
    )  # fmt: skip
    parser.add_argument("--iterations", type=int, metavar="N", help="take N batches instead of every record once")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 (default: %(default)s)")
    add_net_arguments(parser)
    add_layer_settings(parser)
    add_allow_python(parser)
    args = parser.parse_args()
    if args.iterations is not None and args.iterations < 1:
        parser.error("--iterations must be at least 1")

    from netspec import Net, evaluate, log_to_stderr, readable_errors
    from netspec.overrides import Overrides
    from netspec.schema.netspec_pb2 import TEST

    log_to_stderr()
    with readable_errors():
        options = net_options(args)
        document = Overrides(args.settings, options.pop("define")).applied_to_net(args.net, TEST)
        net = Net(document, "TEST", device=args.device, allow_python=args.allow_python, **options)
        net.check_labels()
        report = net.load(args.weights, whole=True)
        print(f"{args.weights}: {len(report.copied)} layers copied, not used: {', '.join(report.left_over) or 'none'}")
        for name, values in evaluate(net, args.iterations).items():
            weight = net.loss_weights.get(name)
            for value in values:
                print(f"{name} = {value:.6g}" + (f" (* {weight:g} = {weight * value:.6g} loss)" if weight else ""))
        net.close()


if __name__ == "__main__":
    main()
