"""Weighted sums and geometric means of scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netspec.errors import DataError
from netspec.evaluation.calibration import probabilities
from netspec.scores import KINDS, Scores

METHODS = ("sum", "geometric", "naive-bayes", "dawid-skene")

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Rule:
    """How the scores of several nets become one.

    `method` is the weighted sum of the scores, their weighted geometric mean, or one of two that look at the
    predictions only (`netspec.ensemble.votes`). The sum is one of distributions (`scores` is "softmax"), so that all
    scales agree, or of raw scores. With `rank_cutoff` K, a class that a net ranks below its K best gets nothing from
    it. `smoothing` is how many images more each row of a confusion matrix counts. DataError where these do not fit.
    """

    method: str = "sum"
    scores: str = "softmax"
    rank_cutoff: int | None = None
    smoothing: float = 20.0

    def __post_init__(self) -> None:
        if reason := self._reason():
            raise DataError(f"rule of an ensemble: {reason}")

    def _reason(self) -> str:
        if self.method not in METHODS:
            return f'method "{self.method}" is none of {", ".join(METHODS)}'
        if self.scores not in KINDS:
            return f'scores "{self.scores}" are none of {", ".join(KINDS)}'
        if self.scores == "raw" and self.method != "sum":
            return f"only a sum can be one of raw scores, not {self.method}"
        if self.rank_cutoff is not None and (self.method, self.scores) != ("sum", "softmax"):
            return "a rank cut-off needs a sum of softmax scores, where nothing is less than any score"
        if self.rank_cutoff is not None and self.rank_cutoff < 1:
            return f"the rank cut-off is {self.rank_cutoff}: it must leave one class or more"
        if not 0 < self.smoothing < np.inf:
            return f"the smoothing is {self.smoothing:g}: it must be above 0"
        return ""

    @property
    def weighs(self) -> bool:
        """Whether the members have weights."""
        return self.method in ("sum", "geometric")


def contribution(member: Scores, rule: Rule) -> Array:
    """What a net gives to each class of each image (N, C) for the weight 1; the ensemble is the sum of all."""
    if rule.scores == "raw":
        if member.kind != "raw":
            raise DataError(f"{member.origin}: these are softmax scores: a sum of raw ones cannot have them")
        return member.scores.astype(np.float64)
    if rule.method == "geometric":
        return log_probabilities(member)
    given = probabilities(member)
    return given if rule.rank_cutoff is None else _best(given, rule.rank_cutoff)


def combine(members: Sequence[Scores], weights: Sequence[float], rule: Rule) -> Scores:
    """The weighted sum or geometric mean of aligned members' scores; its rows are distributions but for raw scores."""
    shares = np.array(weights, np.float64) / sum(weights)
    weighted = ((share, member) for share, member in zip(shares, members, strict=True) if share)
    total = np.asarray(sum(share * contribution(member, rule) for share, member in weighted))
    if rule.method == "geometric":
        total = softmax(total)
    elif rule.scores == "softmax":
        total = total / total.sum(1, keepdims=True)
    return like(members[0], total, rule.scores)


def like(member: Scores, scores: Array, kind: str = "softmax") -> Scores:
    """Scores of the same images by the ensemble."""
    return Scores(scores.astype(np.float32), member.keys, member.labels, member.classes, kind, "ensemble")


def log_probabilities(member: Scores) -> Array:
    """The logarithm of each image's distribution (N, C) but for a constant a row; of a probability of 0 that of the
    smallest float32."""
    if member.kind == "softmax":
        logs: Array = np.log(np.maximum(probabilities(member), np.finfo(np.float32).tiny))
        return logs
    values = member.scores.astype(np.float64)
    values -= values.max(1, keepdims=True)
    return values


def softmax(logs: Array) -> Array:
    """Distributions (N, C), from logarithms that may lack a constant a row."""
    shares = np.exp(logs - logs.max(1, keepdims=True))
    distribution: Array = shares / shares.sum(1, keepdims=True)
    return distribution


def check_weights(weights: Sequence[float], members: int) -> tuple[float, ...]:
    """The weights with the sum 1; DataError where they are no weights of so many members."""
    if len(weights) != members:
        raise DataError(f"{len(weights)} weights for {members} score files")
    for weight in weights:
        if not 0 <= weight < np.inf:
            raise DataError(f"the weight {weight:g} is none: weights are 0 or above")
    if not any(weights):
        raise DataError("the weights are all 0")
    return tuple(float(weight) for weight in np.array(weights) / sum(weights))


def _best(given: Array, count: int) -> Array:
    """The scores of the best classes of each image, those equal to the last of them too, and 0 for the others."""
    place = max(0, given.shape[1] - count)
    last = np.partition(given, place, axis=1)[:, [place]]
    return np.where(given >= last, given, 0.0)
