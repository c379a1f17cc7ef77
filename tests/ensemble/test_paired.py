"""Two nets compared on the same images."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import nets, scores

from netspec.ensemble import Paired, compare
from netspec.errors import DataError

SURVEY = Paired(won=86, lost=150, cases=1600)
"""Approval of a prime minister in two surveys of the same people, in Agresti's "Categorical Data Analysis" (2nd
edition, 2002, table 10.1): the difference is -0.04, its interval -0.06 to -0.02, and McNemar's z² is 17.36."""


def test_the_difference_of_a_published_table() -> None:
    """Difference and interval are those of the book."""
    assert round(SURVEY.difference, 3) == -0.04
    assert [round(end, 2) for end in SURVEY.interval] == [-0.06, -0.02]


@pytest.mark.parametrize(
    ("won", "lost", "cases", "low", "high"),
    [(1, 0, 4, -0.2756, 0.6090), (0, 0, 8, -0.1960, 0.1960), (3, 1, 8, -0.2204, 0.6204)],
)
def test_small_tables_by_hand(won: int, lost: int, cases: int, low: float, high: float) -> None:
    """Half an image more in each of the four cells: of one won in four, 1/6 +- 1.96 sqrt(2/6 - (1/6)²) / sqrt(6)."""
    assert Paired(won, lost, cases).interval == pytest.approx((low, high), abs=5e-5)


def test_the_test_of_a_published_table() -> None:
    """The exact p is near that of z² = 17.36 with one degree of freedom, 3.1e-5."""
    assert round((SURVEY.lost - SURVEY.won) ** 2 / (SURVEY.lost + SURVEY.won), 2) == 17.36
    assert 2.5e-5 < SURVEY.p_value < 4.5e-5


@pytest.mark.parametrize(
    ("won", "lost", "p_value"), [(5, 0, 2 / 32), (0, 5, 2 / 32), (4, 1, 12 / 32), (3, 2, 1), (2, 2, 1), (0, 0, 1)]
)
def test_p_is_that_of_throwing_coins(won: int, lost: int, p_value: float) -> None:
    """Five images throw 32 times; at 4 to 1 or more lopsided are 12 of these."""
    assert Paired(won, lost, 100).p_value == p_value


@given(st.integers(0, 400), st.integers(0, 400), st.integers(1, 400))
def test_turned_round_is_the_same(won: int, lost: int, both: int) -> None:
    """Who is first changes the sign only; the interval is around the difference, within -1 and 1."""
    cases = won + lost + both
    pair, turned = Paired(won, lost, cases), Paired(lost, won, cases)
    assert pair.difference == -turned.difference
    assert pair.p_value == turned.p_value
    assert pair.interval == pytest.approx([-end for end in turned.interval[::-1]])
    assert -1 <= pair.interval[0] <= pair.difference <= pair.interval[1] <= 1


def test_an_interval_holds_the_difference_19_times_in_20() -> None:
    """Of 2000 samples of 200 images about 95 % have it inside."""
    cells = np.random.default_rng(0).multinomial(200, [0.15, 0.1, 0.75], 2000)
    intervals = [Paired(int(won), int(lost), 200).interval for won, lost, _ in cells]
    assert 0.94 < np.mean([low <= 0.05 <= high for low, high in intervals]) < 0.97


def test_images_are_compared_one_by_one() -> None:
    """The first is alone right in one image, the second in two, whatever the order of its file."""
    first = scores([[1, 0], [1, 0], [1, 0], [0, 1], [1, 0]], [0, 1, 1, 1, 1])
    keys = ("4.png", "3.png", "2.png", "1.png", "0.png")
    second = scores([[1, 0], [0, 1], [0, 1], [0, 1], [0, 1]], [1, 1, 1, 1, 0], keys=keys)
    assert compare(first, second) == Paired(won=1, lost=2, cases=5)


def test_labels_are_missed() -> None:
    """Without them nobody is right."""
    with pytest.raises(DataError, match="no labels"):
        compare(*nets([1, 2], labelled=False))
