#!/usr/bin/env python3
"""Combines score files of the same images, as tools/score.py writes them, into one; prints what that is worth where
the images have labels, and writes predictions."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from netspec.ensemble import Recipe
    from netspec.scores import Scores


def weights(text: str) -> tuple[float, ...]:
    """Weights from `1,2,0.5`."""
    return tuple(float(number) for number in text.split(","))


def arguments() -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scores", nargs="+", metavar="SCORES", help="the score files (.npz), one a net")
    parser.add_argument(
        "--method", choices=("sum", "geometric", "naive-bayes", "dawid-skene"), default="sum",
        help="sum of scores, geometric mean, or merging of predictions by confusion matrices: naive Bayes (from "
        "labelled images) or Dawid and Skene's EM (from any) (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--of", choices=("softmax", "raw"), default="softmax",
        help="what the sum is of: the softmax of the scores, on one scale for all nets, or the raw scores "
        "(default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--rank-cutoff", type=int, metavar="K", help="a class that a net ranks below K gets nothing")
    parser.add_argument(
        "--smoothing", type=float, default=20.0, metavar="N",
        help="images more in each row of a confusion matrix, spread as by a net that errs evenly "
        "(default: %(default)s)",
    )  # fmt: skip
    found = parser.add_mutually_exclusive_group()
    found.add_argument("--weights", type=weights, metavar="W,...", help="a weight for each score file")
    found.add_argument(
        "--weights-by", choices=("equal", "accuracy", "greedy", "subsets"), default="equal",
        help="equal; or from labelled images: each net's accuracy, greedy picks with replacement, or the best of all "
        "subsets (default: %(default)s)",
    )  # fmt: skip
    found.add_argument("--recipe", metavar="FILE", help="combine as a recipe says that --save-recipe wrote")
    parser.add_argument(
        "--validation", nargs="+", default=[], metavar="SCORES",
        help="score files of the same nets on labelled images, to learn from; else what must be learned is learned "
        "from the labels of the images themselves, in folds",
    )  # fmt: skip
    parser.add_argument("--folds", type=int, default=5, metavar="N", help="folds to learn in (default: %(default)s)")
    parser.add_argument(
        "--balance", type=float, nargs="?", const=1.0, metavar="STRENGTH",
        help="make the counts of predicted classes even; with a strength below 1 only that part of the way",
    )  # fmt: skip
    parser.add_argument("--counts", metavar="FILE", help="balance to these counts: a text of lines CLASS COUNT")
    parser.add_argument("--out", metavar="FILE", help="write predictions: lines such as test_0.JPEG n01443537")
    parser.add_argument("--out-scores", metavar="FILE", help="write the combined scores (.npz)")
    parser.add_argument("--save-recipe", metavar="FILE", help="write what was learned, for --recipe (.json)")
    args = parser.parse_args()
    fixed = ("method", "of", "rank_cutoff", "smoothing", "folds", "validation", "save_recipe")
    if args.recipe and (given := [name for name in fixed if getattr(args, name) != parser.get_default(name)]):
        parser.error(f"--{given[0].replace('_', '-')} does not go with --recipe, which has it all")
    written = [path for path in (args.out, args.out_scores, args.save_recipe) if path]
    others = [path for path in (*args.scores, *args.validation, args.recipe, args.counts) if path]
    places = [Path(path).resolve() for path in (*written, *others)]
    if twice := [path for path, place in zip(written, places, strict=False) if places.count(place) > 1]:
        parser.error(f"{twice[0]} is to be written, but is another of these files too")
    if args.out and args.out.endswith(".npz"):
        parser.error("--out writes predictions as text; --out-scores writes a score file")
    return args


def main() -> None:
    args = arguments()

    from netspec import log_to_stderr, readable_errors
    from netspec.ensemble import align, balance, load_recipe, read_counts, report, write_predictions
    from netspec.scores import load_scores

    log_to_stderr()
    with readable_errors():
        members = align([load_scores(path) for path in args.scores])
        if args.recipe:
            recipe = load_recipe(args.recipe)
            combined = recipe.combined(members)
        else:
            recipe, combined = learned(args, members)
        if args.balance is not None or args.counts:
            proportions = read_counts(args.counts, combined) if args.counts else ()
            combined = balance(combined, proportions, 1.0 if args.balance is None else args.balance)
        if args.save_recipe:
            recipe.chosen().save(args.save_recipe)
        if args.out_scores:
            combined.save(args.out_scores)
        if args.out:
            write_predictions(combined, args.out)
        print(report(members, recipe.weights, combined))


def learned(args: argparse.Namespace, members: Sequence[Scores]) -> tuple[Recipe, Scores]:
    """The recipe that the arguments ask for, and the members combined by it: held out from it where it is learned from
    their own labels."""
    from netspec.ensemble import Learner, Rule, align, check_validation, report
    from netspec.scores import load_scores

    rule = Rule(args.method, args.of, args.rank_cutoff, args.smoothing)
    learner = Learner(rule, args.weights or args.weights_by, args.folds)
    if not args.validation:
        recipe, combined = learner.learn_and_combine(members)
        if learner.needs_labels:
            print(f"each image is combined as learned from the others, in {args.folds} folds:")
        return recipe, combined
    validation = align([load_scores(path) for path in args.validation])
    check_validation(validation, members)
    recipe, combined = learner.learn(validation), learner.held_out(validation)
    print(f"on the images of the validation, each held out once in {args.folds} folds:")
    print(report(validation, recipe.weights, combined))
    print("\non the images to combine:")
    return recipe, recipe.combined(members)


if __name__ == "__main__":
    main()
