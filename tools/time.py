#!/usr/bin/env python3
"""Times a net layer by layer, forward and backward; what `caffe time` was.

No data is read: random numbers stand for it. A table goes to standard output, Caffe's lines to standard error. Beside
each layer's time stands its share of the limit: the least time that this machine, whose rates are measured, could take
for its multiply-adds or for moving its blobs, whichever is longer.
"""

import argparse
import json
import logging
import sys
from pathlib import Path

from arguments import add_allow_python, add_layer_settings, add_net_arguments, net_options

PRECISIONS = ("FP32", "TF32", "BF16", "FP16")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("net", help="the net file, e.g. zoo/nin.prototxt, or a .caffemodel")
    add("--phase", choices=["TRAIN", "TEST"], help="default: TRAIN; TEST for a .caffemodel")
    add("--iterations", type=int, default=50, metavar="N", help="how many are timed (default: %(default)s)")
    weights = ".caffemodel, .caffemodel.h5 or .safetensors files (default: what the fillers give)"
    add("--weights", metavar="FILE,...", default="", help=weights)
    add("--device", default="cpu", help="cpu, cuda, cuda:1 (default: %(default)s)")
    add("--precision", choices=PRECISIONS, default="FP32", help="what products compute in (default: %(default)s)")
    add_net_arguments(parser, shapes_of="an input")
    add_layer_settings(parser)
    add_allow_python(parser)
    add("--trace", metavar="FILE", help="write a Chrome trace of one iteration")
    add("--json", type=Path, metavar="FILE", help="write all figures")
    add("--quiet", action="store_true", help="print the table alone")
    args = parser.parse_args()
    if args.iterations < 1:
        parser.error("--iterations must be at least 1")
    return args


def main() -> None:
    args = parse()
    from netspec import log_to_stderr, readable_errors
    from netspec.allocator import keep_freed_memory
    from netspec.files import write_whole
    from netspec.timing import as_data, log_as_caffe, made_inputs, open_net, report, time_net, write_trace

    log_to_stderr(logging.WARNING if args.quiet else logging.INFO)
    with readable_errors():
        keep_freed_memory()  # as in a run
        options = {name: getattr(args, name) for name in ("weights", "settings", "device", "precision", "allow_python")}
        net, summary = open_net(args.net, args.phase, **options, **net_options(args))
        print(*summary.notes, sep="\n", end="\n" if summary.notes else "")
        inputs = made_inputs(net)
        if args.trace:
            write_trace(net, inputs, args.trace)
        timing = time_net(net, inputs, args.iterations)
        log_as_caffe(timing)
        print(report(net, summary, timing))
        if args.json:
            write_whole(args.json, json.dumps(as_data(net, summary, timing), indent=2).encode())


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:  # while Python still loads
        sys.exit("interrupted")
