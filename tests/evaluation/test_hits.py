"""How many are right, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from netspec import DataError
from netspec.evaluation import Share, accuracy, calibration, confusion, most_wrong, top_accuracy
from netspec.scores import Scores

ROWS = [[3, 2, 1, 0], [0, 1, 2, 3], [5, 5, 5, 5], [1, 4, 4, 0]]


@pytest.mark.parametrize(("hits", "cases", "low", "high"), [
    (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (5, 10, 0.2366, 0.7634), (81, 263, 0.2553, 0.3662),
    (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718),
])  # fmt: skip
def test_wilsons_interval(hits: int, cases: int, low: float, high: float) -> None:
    """The interval is that of textbooks for ten cases, for others that of R. Newcombe, "Two-sided confidence intervals
    for the single proportion" (1998), table I, method 3."""
    assert Share(hits, cases).interval == pytest.approx((low, high), abs=5e-5)


def test_no_cases() -> None:
    """Of nothing the share is unknown, and may be any."""
    assert math.isnan(Share(0, 0).value) and Share(0, 0).interval == (0, 1)


@given(st.integers(1, 10_000).flatmap(lambda cases: st.tuples(st.integers(0, cases), st.just(cases))))
def test_the_interval_holds_the_share(case: tuple[int, int]) -> None:
    """The share lies in its interval, the interval between 0 and 1, and more cases make it narrower."""
    hits, cases = case
    share = Share(hits, cases)
    low, high = share.interval
    assert 0 <= low <= share.value + 1e-12 and share.value <= high + 1e-12 <= 1 + 1e-12
    wider, narrower = (high - low), (lambda ends: ends[1] - ends[0])(Share(4 * hits, 4 * cases).interval)
    assert narrower < wider


@pytest.mark.parametrize(
    ("labels", "hits"),
    [
        ([0, 3, 0, 1], [4, 4, 4, 4]),
        ([1, 2, 1, 2], [0, 4, 4, 4]),
        ([3, 0, 3, 3], [0, 0, 0, 4]),
        ([2, 1, 2, 0], [0, 0, 4, 4]),
    ],
)
def test_top_accuracy(made: Callable[..., Scores], labels: list[int], hits: list[int]) -> None:
    """A label counts where fewer than so many classes come before it, of equal scores those of lower numbers."""
    scores = made(ROWS, labels)
    assert [top_accuracy(scores, count) for count in (1, 2, 3, 4)] == [Share(hit, 4) for hit in hits]
    assert accuracy(scores) == Share(hits[0], 4)


def test_what_has_no_probability_is_no_guess(made: Callable[..., Scores]) -> None:
    """Of a distribution over two classes the others are not the next best, though of raw scores 0 is one as any."""
    rows = [[0.6, 0.4, 0, 0]] * 4
    assert [top_accuracy(made(rows, [0, 1, 2, 3], kind="softmax"), count).hits for count in (1, 2, 4)] == [1, 2, 2]
    assert top_accuracy(made(rows, [0, 1, 2, 3]), 4).hits == 4


@given(
    arrays.arrays(np.float32, (6, 4), elements=st.integers(0, 3).map(float)),
    arrays.arrays(np.int64, 6, elements=st.integers(0, 3)),
)
def test_the_best_one_is_the_prediction(values: np.ndarray, labels: np.ndarray) -> None:
    """However scores are tied, the share of right ones is that of the predictions, and all are among all classes."""
    some = Scores(values, tuple("abcdef"), labels)
    assert accuracy(some).value == (some.predictions == labels).mean()
    assert top_accuracy(some, 4).value == 1


def test_the_accuracy_is_the_diagonal(made: Callable[..., Scores]) -> None:
    """Ties too are decided as for the predictions."""
    for labels in ([0, 3, 0, 1], [0, 3, 1, 2]):
        scores = made(ROWS, labels)
        assert accuracy(scores).hits == confusion(scores).counts.trace()


@pytest.mark.parametrize("figure", [accuracy, confusion, calibration, lambda scores: most_wrong(scores, 3)])
def test_without_labels(made: Callable[..., Scores], figure: Callable[[Scores], object]) -> None:
    """Nothing can be said of images without labels."""
    with pytest.raises(DataError, match=r"^a\.npz: the images have no labels to hold the scores against$"):
        figure(made(ROWS, None, origin="a.npz"))
