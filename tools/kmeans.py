#!/usr/bin/env python3
"""The k-means baseline: the error of clusters of raw pixels, and of classifiers over clusters of whitened patches."""

import argparse
from pathlib import Path


def positive(text: str) -> int:
    """A number of things of which there must be one at least."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    what = "a database, a list of images, or a folder of classes"
    parser.add_argument("train", type=Path, metavar="TRAIN", help=f"what is learned from: {what}")
    parser.add_argument("val", type=Path, metavar="VAL", help="what the error is of, likewise")
    for flag, default, text in (
        ("--clusters", 200, "how many clusters images and patches fall into"),
        ("--patches", 100_000, "how many patches the clusters of patches are learned from"),
        ("--patch-size", 8, "the side of a patch in pixels"),
        ("--stride", 4, "the pixels from one patch of an image to the next"),
    ):
        parser.add_argument(flag, type=positive, default=default, metavar="N", help=f"{text} (default: %(default)s)")
    parser.add_argument("--images", type=positive, metavar="N", help="learn from N images that the seed draws")
    parser.add_argument(
        "--encoding", choices=["triangle", "hard"], default="triangle",
        help="how a patch is described: how near each cluster is, or which is nearest (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="decides all draws (default: %(default)s)")
    args = parser.parse_args()

    from netspec import readable_errors
    from netspec.evaluation.kmeans import STUDY, Settings, baselines, open_images, scikit_learn

    with readable_errors():
        scikit_learn()
        train, val = open_images(args.train, args.images, args.seed), open_images(args.val)
        print(f"{len(train)} train and {len(val)} val images of {train.labels.max() + 1} classes")
        settings = Settings(args.clusters, args.patches, args.patch_size, args.stride, args.encoding, args.seed)
        for name, wrong in baselines(train, val, settings):
            print(f"{name}: error {wrong}", flush=True)
        print(f"the study's baseline on Tiny ImageNet: error {STUDY}")


if __name__ == "__main__":
    main()
