#!/usr/bin/env python3
"""Tests a net with given weights; what `caffe test` was. Sees every record of its data exactly once."""

import argparse
import sys


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("net", help="the net file, e.g. zoo/quickstart.prototxt")
    parser.add_argument(
        "--weights", metavar="FILE", required=True,
        help="a .caffemodel, .caffemodel.h5 or .safetensors file, or several with commas between them",
    )  # fmt: skip
    parser.add_argument("--iterations", type=int, metavar="N", help="take N batches instead of every record once")
    parser.add_argument("--stage", action="append", default=[], metavar="NAME", help="a stage for the rules of the net")
    parser.add_argument("--level", type=int, default=0, help="the level for the rules of the net")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="settings",
        help="override a field of a layer (data.data_param.source=data/val_lmdb)",
    )  # fmt: skip
    parser.add_argument("--define", action="append", default=[], metavar="NAME=VALUE", help="the value of ${NAME}")
    parser.add_argument("--allow-python", action="store_true", help="let the Python layers of the net run their code")
    args = parser.parse_args()
    if args.iterations is not None and args.iterations < 1:
        parser.error("--iterations must be at least 1")

    from netspec import Net, evaluate, log_to_stderr, readable_errors
    from netspec.overrides import Overrides
    from netspec.schema.netspec_pb2 import TEST
    from netspec.templates import definitions

    log_to_stderr()
    with readable_errors():
        document = Overrides(args.settings, definitions(args.define)).applied_to_net(args.net, TEST)
        options = {"stages": args.stage, "level": args.level, "allow_python": args.allow_python}
        net = Net(document, "TEST", device=args.device, **options)
        net.check_labels()
        report = net.load(args.weights, whole=True)
        print(f"{args.weights}: {len(report.copied)} layers copied, not used: {', '.join(report.left_over) or 'none'}")
        for name, values in evaluate(net, args.iterations).items():
            weight = net.loss_weights.get(name)
            for value in values:
                print(f"{name} = {value:.6g}" + (f" (* {weight:g} = {weight * value:.6g} loss)" if weight else ""))
        net.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
