#!/usr/bin/env python3
"""Tests a net with given weights; what `caffe test` was. Sees every record of its data exactly once. Also reports on
its scores, or on those of a file of tools/score.py: classes, confusions, calibration, and images it is wrong about."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from arguments import add_allow_python, add_layer_settings, add_net_arguments, net_options

if TYPE_CHECKING:
    from netspec import Net
    from netspec.schema.netspec_pb2 import NetParameter
    from netspec.scores import Scores
    from netspec.spec import Document


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("net", nargs="?", help="the net file, e.g. zoo/quickstart.prototxt")
    parser.add_argument(
        "--weights", metavar="FILE,...",
        help=".caffemodel, .caffemodel.h5 or .safetensors files, of which later ones win",
    )  # fmt: skip
    parser.add_argument("--iterations", type=int, metavar="N", help="take N batches instead of every record once")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 (default: %(default)s)")
    parser.add_argument(
        "--report", type=Path, metavar="FOLDER",
        help="write tables and pictures there: each class, confusions, calibration, the images most wrongly sure of",
    )  # fmt: skip
    parser.add_argument(
        "--scores", type=Path, metavar="FILE.npz",
        help="take the scores in this file; a net is then only for the images in the report",
    )  # fmt: skip
    add_net_arguments(parser)
    add_layer_settings(parser)
    add_allow_python(parser)
    args = parser.parse_args()
    if args.iterations is not None and args.iterations < 1:
        parser.error("--iterations must be at least 1")
    if args.scores and (args.weights or args.iterations):
        parser.error("--scores takes the place of --weights and --iterations")
    if args.scores and args.net and not args.report:
        parser.error("with --scores a net is only for the images in the report (--report)")
    if not args.scores and not (args.net and args.weights):
        parser.error("give a net and --weights, or --scores")
    if args.report and args.iterations:
        parser.error("a report is on every record once: leave out --iterations")
    return args


def test(net: Net, args: argparse.Namespace) -> None:
    """Print the mean of each output of a net."""
    from netspec import evaluate

    net.check_labels()
    report = net.load(args.weights, whole=True)
    print(f"{args.weights}: {len(report.copied)} layers copied, not used: {', '.join(report.left_over) or 'none'}")
    for name, values in evaluate(net, args.iterations).items():
        weight = net.loss_weights.get(name)
        for value in values:
            print(f"{name} = {value:.6g}" + (f" (* {weight:g} = {weight * value:.6g} loss)" if weight else ""))


def tested(document: Document[NetParameter], net: Net, args: argparse.Namespace) -> Scores | None:
    """Test a net; the scores of its images where a report is wanted."""
    if not args.report:
        test(net, args)
        return None
    from netspec.scoring import Scorer

    scorer = Scorer(
        document, args.weights, state=net.graph.state, device=args.device, allow_python=args.allow_python
    )  # before the test, since a net without scores is no matter of minutes, nor are images without labels
    if not scorer.has_labels:
        raise document.error("its images have no labels to report on")
    test(net, args)
    scores = scorer.scores(classes=scorer.names())
    scorer.close()
    return scores


def main() -> None:
    args = parse()

    from netspec import Net, log_to_stderr, readable_errors
    from netspec.data.captions import class_names
    from netspec.evaluation import image_layer, named, pictures_of, refuse_unwritable_report, summary, write_report
    from netspec.overrides import Overrides
    from netspec.schema.netspec_pb2 import TEST
    from netspec.scores import load_scores

    log_to_stderr()
    with readable_errors():
        if args.report:
            refuse_unwritable_report(args.report)
        scores, pictures = load_scores(args.scores) if args.scores else None, None
        if args.net:
            options = net_options(args)
            document = Overrides(args.settings, options.pop("define")).applied_to_net(args.net, TEST)
            net = Net(document, "TEST", device=args.device, allow_python=args.allow_python, **options)
            scores = scores or tested(document, net, args)
            if scores and (layer := image_layer(net)):
                scores = named(scores, class_names(layer[0].param, document.find))
                pictures = partial(pictures_of, layer, document.find, scores)
        if scores:
            print(summary(scores))
        if scores and args.report:
            files = write_report(args.report, scores, pictures)
            print(f"{args.report}: {', '.join(file.name for file in files)}")
        if args.net:
            net.close()


if __name__ == "__main__":
    main()
