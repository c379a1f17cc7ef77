#!/usr/bin/env python3
"""Scores images: every record of a net's TEST data, or of another set, once and in order, into a score file with the
keys and labels of the records and the names of the classes. tools/ensemble.py and tools/test.py take it from there."""

import argparse
from pathlib import Path

from scoring_arguments import add_scoring_arguments, scorer_options


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_scoring_arguments(parser)
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="the score file to write (.npz)")
    parser.add_argument(
        "--source", metavar="PATH", help="a folder of images, a list or a database in place of the net's own data"
    )
    parser.add_argument(
        "--crops", default="center", metavar="center|5|10|random:K|grid:K",
        help="what is cut out of each image, crop_size wide: 5 are the corners and the centre, 10 their mirror images "
        "too, as in Caffe; random:K are always the same K; grid:K are K x K from border to border (default: center)",
    )  # fmt: skip
    parser.add_argument("--mirror", action="store_true", help="score the mirror image of every crop too")
    parser.add_argument(
        "--average", choices=["softmax", "scores"], default="softmax",
        help="over the crops of an image: the mean of their softmax, as Krizhevsky and Caffe take it, or of their "
        "scores (default: %(default)s)",
    )  # fmt: skip
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument(
        "--raw", dest="kind", action="store_const", const="raw", default="raw",
        help="write what goes into the net's softmax; of a mean softmax, its logarithm. The default: an ensemble can "
        "take the softmax of these, but not these back from it",
    )  # fmt: skip
    kind.add_argument("--softmax", dest="kind", action="store_const", const="softmax", help="write distributions")
    args = parser.parse_args()

    from dataclasses import replace

    from netspec import log_to_stderr, readable_errors
    from netspec.evaluation import top_accuracy
    from netspec.files import refuse_unwritable
    from netspec.scoring import Scorer, parse_crops

    log_to_stderr()
    with readable_errors():
        try:
            crops = parse_crops(args.crops)
        except ValueError as error:
            parser.error(f"argument --crops: {error}")
        crops = replace(crops, mirror=crops.mirror or args.mirror)
        refuse_unwritable(args.out)
        scorer = Scorer(images=args.source, crops=crops, **scorer_options(parser, args))
        if scorer.report.left_over:
            print(f"not used of the weights: {', '.join(scorer.report.left_over)}")
        scores = scorer.scores(args.kind, args.average, scorer.names(args.names))
        scores.save(args.out)
        scorer.close()
        count, windows = len(scores.keys), f"{len(crops)} window{'s' if len(crops) > 1 else ''} each"
        print(f"{args.out}: {count} images, {windows}, {scorer.classes} classes, {args.kind}")
        for k in (1, 5) if scores.labels is not None else ():
            if k < scorer.classes:
                print(f"{'accuracy' if k == 1 else f'top-{k}'} = {top_accuracy(scores, k).value:.6g}")
        print(f"{scorer.seconds:.2f} s, {count / scorer.seconds:.0f} images/s on {args.device}")


if __name__ == "__main__":
    main()
