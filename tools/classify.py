#!/usr/bin/env python3
"""Says what is in images: the classes that a net finds most likely, as Caffe's classification example printed them.

An image of any size is resized as Caffe did, without keeping its aspect, to the size that the net's own data has before
it is cropped: what its data layer resizes to, else the size of its records or of its mean image, else --size; for a net
with an Input layer, to the shape of that. Then the centre is cropped, and mean and scale are those of the TEST data
layer, or --mean, --mean-file and --scale:

    classify.py deploy.prototxt --weights net.caffemodel --mean-file mean.binaryproto --names synset_words.txt cat.jpg
"""

import argparse

from scoring_arguments import add_scoring_arguments, scorer_options


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_scoring_arguments(parser)
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="JPEG, PNG or BMP")
    parser.add_argument("--top", type=int, default=5, metavar="N", help="how many classes (default: %(default)s)")
    args = parser.parse_args()
    if args.top < 1:
        parser.error("--top must be at least 1")

    from netspec import log_to_stderr, readable_errors
    from netspec.scoring import Scorer

    log_to_stderr()
    with readable_errors():
        scorer = Scorer(images=args.images, **scorer_options(parser, args))
        scores = scorer.scores("softmax", classes=scorer.names(args.names))
        scorer.close()
        for key, row in zip(scores.keys, scores.scores, strict=True):
            print(f"---------- Prediction for {key} ----------")
            for number in (-row).argsort(kind="stable")[: args.top]:
                print(f'{row[number]:.4f} - "{scores.classes[number] if scores.classes else f"class {number}"}"')


if __name__ == "__main__":
    main()
