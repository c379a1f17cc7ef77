"""Recipes learned from the scores of labelled images, and what they are worth on images held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from netspec.ensemble.align import check_classes, check_net, part
from netspec.ensemble.folds import folds
from netspec.ensemble.recipe import Recipe
from netspec.ensemble.rule import Rule
from netspec.ensemble.search import best_subset, greedy
from netspec.errors import DataError
from netspec.evaluation.confusion import confusion
from netspec.evaluation.hits import accuracy
from netspec.scores import Scores

WEIGHTS_BY = ("equal", "accuracy", "greedy", "subsets")


@dataclass(frozen=True)
class Learner:
    """How a recipe comes about: its rule, and where this has weights, these or how they are found: equal, each net's
    accuracy, greedy picks or the best subset (`netspec.ensemble.search`). There are `fold_count` folds. DataError where
    the rule has no weights and some are asked for."""

    rule: Rule
    weights: str | tuple[float, ...] = "equal"
    fold_count: int = 5

    def __post_init__(self) -> None:
        if isinstance(self.weights, str) and self.weights not in WEIGHTS_BY:
            raise DataError(f'weights by "{self.weights}" are none of {", ".join(WEIGHTS_BY)}')
        if not self.rule.weighs and self.weights != "equal":
            raise DataError(f"{self.rule.method} takes no weights: it learns how good each net is")

    @property
    def needs_labels(self) -> bool:
        """Whether there is no recipe without labelled images."""
        return self.weights in WEIGHTS_BY[1:] if self.rule.weighs else self.rule.method == "naive-bayes"

    def learn(self, members: Sequence[Scores]) -> Recipe:
        """The recipe from the aligned scores of nets; DataError where it needs labels and there are none."""
        names, nets = tuple(member.origin for member in members), tuple(member.net for member in members)
        if self.needs_labels and members[0].labels is None:
            how = f"weights by {self.weights}" if self.rule.weighs else self.rule.method
            raise DataError(f"{members[0].origin}: no labels, but {how} must be learned from labelled images")
        if self.rule.weighs:
            return Recipe(self.rule, names, self._weights(members), nets=nets)
        labelled = members[0].labels is not None
        counts = np.stack([confusion(member).counts for member in members]) if labelled else None
        return Recipe(self.rule, names, confusions=counts, nets=nets)

    def _weights(self, members: Sequence[Scores]) -> tuple[float, ...]:
        if isinstance(self.weights, tuple):
            return self.weights
        if self.weights == "equal":
            return (1.0,) * len(members)
        if self.weights == "accuracy":
            return tuple(accuracy(member).value for member in members)
        if self.weights == "greedy":
            return greedy(members, self.rule, self.fold_count)
        return best_subset(members, self.rule)

    def learn_and_combine(self, members: Sequence[Scores]) -> tuple[Recipe, Scores]:
        """The recipe, and the ensemble's scores of the same images: held out where the recipe needs labels, else
        without a look at them."""
        if self.needs_labels:
            return self.learn(members), self.held_out(members)
        recipe = self.learn([replace(member, labels=None) for member in members])
        return recipe, recipe.combined(members)

    def held_out(self, members: Sequence[Scores]) -> Scores:
        """The ensemble's scores of labelled images, those of each fold by the recipe that is learned from the other
        folds, so that no image has a say in its own."""
        values = np.empty_like(members[0].scores)
        for kept, left_out in folds(members[0], self.fold_count):
            recipe = self.learn([part(member, kept) for member in members])
            combined = recipe.combined([part(member, left_out) for member in members])
            values[left_out] = combined.scores
        return replace(combined, scores=values, keys=members[0].keys, labels=members[0].labels)


def check_validation(validation: Sequence[Scores], members: Sequence[Scores]) -> None:
    """DataError where scores cannot be those of the same nets on other images: one file a net, in the same order."""
    if len(validation) != len(members):
        raise DataError(f"{len(validation)} score files for validation, but {len(members)} to combine")
    for known, member in zip(validation, members, strict=True):
        check_classes(known, member)
        check_net(known.net, member)
        if _of_the_same_images(known, member):
            raise DataError(f"{known.origin}: these are the images to combine; leave them out of the validation")
    if validation[0].labels is None:
        raise DataError(f"{validation[0].origin}: no labels, so it is nothing to validate with")


def _of_the_same_images(known: Scores, member: Scores) -> bool:
    """Whether some are, as far as one can tell: many sets have the keys 0, 1, 2 and so on, but not with one label."""
    if known.labels is None or member.labels is None:
        return np.array_equal(known.scores, member.scores)
    labels = dict(zip(known.keys, known.labels.tolist(), strict=True))
    shared = [labels[key] == own for key, own in zip(member.keys, member.labels.tolist(), strict=True) if key in labels]
    return np.array_equal(known.scores, member.scores) or (any(shared) and all(shared))
