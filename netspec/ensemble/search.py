"""Which nets to take and how to weigh them, found from scores of labelled images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from netspec.ensemble.folds import folds
from netspec.ensemble.rule import Rule, contribution
from netspec.errors import DataError
from netspec.evaluation.hits import labels_of
from netspec.scores import Scores

MOST_FOR_SUBSETS = 10
"""Nets have 1,023 subsets then."""

_PICKS = 25

Given = NDArray[np.float32]
Labels = NDArray[np.int64]
Subset: TypeAlias = tuple[tuple[int, ...], Given]


def greedy(members: Sequence[Scores], rule: Rule, fold_count: int) -> tuple[float, ...]:
    """How often each net is picked where the next pick is always the net with which the ensemble so far is right most
    often, and a net can be picked again (Caruana et al., "Ensemble Selection from Libraries of Models", ICML 2004).
    Of equal nets it is the one that is the best alone.

    How many picks there are is found on images that they were not made from, as each fold is held out once: the
    fewest that are within a standard error of those that do best (Breiman et al., "Classification and Regression
    Trees", 1984).
    """
    given, labels = _given(members, rule), labels_of(members[0])
    right = np.zeros((_PICKS, len(labels)), bool)
    for kept, left_out in folds(members[0], fold_count):
        picks = _picks(given[:, kept], labels[kept])
        total = np.zeros_like(given[0, left_out])
        for place, pick in enumerate(picks):
            total += given[pick, left_out]
            right[place, left_out] = total.argmax(1) == labels[left_out]
    picks = _picks(given, labels)[: _enough(right)]
    return tuple(map(float, np.bincount(picks, minlength=len(members))))


def best_subset(members: Sequence[Scores], rule: Rule) -> tuple[float, ...]:
    """1 for each net of the subset that is right most often with equal weights, and 0 for the others; of equal subsets
    the smallest. DataError where there are too many to try."""
    if len(members) > MOST_FOR_SUBSETS:
        raise DataError(f"{len(members)} score files have too many subsets to try all; at most {MOST_FOR_SUBSETS} do")
    labels = labels_of(members[0])
    subsets = _subsets(_given(members, rule))
    best, _ = max(subsets, key=lambda subset: (_right(subset[1], labels), -len(subset[0])))
    return tuple(float(number in best) for number in range(len(members)))


def _subsets(given: Given, subset: tuple[int, ...] = (), total: Given | float = 0.0) -> Iterator[Subset]:
    """The subsets that begin with one, but not this itself, in alphabetical order; each with its sum, which takes one
    addition."""
    for number in range(subset[-1] + 1 if subset else 0, len(given)):
        larger = (*subset, number), total + given[number]
        yield larger
        yield from _subsets(given, *larger)


def _picks(given: Given, labels: Labels) -> list[int]:
    """The nets (numbers) in the order of their picks."""
    total = np.zeros_like(given[0])
    alone = [_right(own, labels) for own in given]
    picks: list[int] = []
    for _ in range(_PICKS):
        merits = [(_right(total + own, labels), alone[number]) for number, own in enumerate(given)]
        picks.append(merits.index(max(merits)))
        total += given[picks[-1]]
    return picks


def _enough(right: NDArray[np.bool_]) -> int:
    """The fewest picks that are as good as any but for chance; which images are right after each pick (picks, N)."""
    lost = right[right.sum(1).argmax()].astype(np.int64) - right
    error = np.sqrt((lost**2).sum(1) - lost.sum(1) ** 2 / lost.shape[1])
    return int((lost.sum(1) <= error).argmax()) + 1


def _given(members: Sequence[Scores], rule: Rule) -> Given:
    return np.stack([contribution(member, rule).astype(np.float32) for member in members])


def _right(total: Given, labels: Labels) -> int:
    return int((total.argmax(1) == labels).sum())
