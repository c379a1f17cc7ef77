"""Random words and the order of records."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netspec.data.order import below, indices, permutation, words

FIRST_WORDS = [52028850370618961, 16198256269225028369, 2460039894178787222]
sizes, seeds, positions = st.integers(1, 50), st.integers(-(2**63), 2**63), st.integers(0, 10**9)


def test_words_never_change():
    """The words are fixed for ever: a run resumes with the draws it began with."""
    assert words(np.arange(3), 1701, 1).tolist() == FIRST_WORDS


@given(seeds, st.integers(0, 99), st.lists(positions, max_size=5))
def test_a_word_depends_only_on_its_counter_and_key(seed, key, counters):
    """Drawing words together or one by one gives the same ones."""
    together = words(np.array(counters, np.int64), seed, key).tolist()
    assert together == [int(words(np.array([counter]), seed, key)[0]) for counter in counters]


@pytest.mark.parametrize("bound", [2, 9, 1000])
def test_below_is_uniform(bound):
    """Numbers below a bound are equally frequent, to the chi-square bound of five standard deviations."""
    counts = np.bincount(below(words(np.arange(100 * bound), 7, 0), bound), minlength=bound)
    chi_square = ((counts - 100) ** 2 / 100).sum()
    assert len(counts) == bound
    assert abs(chi_square - (bound - 1)) < 5 * np.sqrt(2 * (bound - 1))


@given(positions, st.integers(0, 60), sizes, seeds)
def test_in_order_wraps_round(position, count, size, seed):
    """Without shuffle the records follow each other and wrap round, whatever the seed."""
    assert indices(position, count, size, seed, False).tolist() == [(position + i) % size for i in range(count)]


@given(st.integers(0, 100), sizes, seeds)
def test_every_shuffled_epoch_is_a_permutation(epoch, size, seed):
    """With shuffle each epoch holds every record once."""
    assert sorted(indices(epoch * size, size, size, seed, True).tolist()) == list(range(size))


@given(positions, st.integers(0, 60), st.integers(0, 60), sizes, seeds)
def test_the_order_can_be_taken_up_anywhere(position, first, second, size, seed):
    """Two stretches one after the other are the same records as one long stretch."""
    whole = indices(position, first + second, size, seed, True)
    parts = indices(position, first, size, seed, True), indices(position + first, second, size, seed, True)
    np.testing.assert_array_equal(whole, np.concatenate(parts))


def test_orders_differ_by_epoch_and_seed():
    """Each epoch and each seed has an order of its own, and a cached one cannot be changed."""
    orders = {tuple(indices(epoch * 50, 50, 50, seed, True)) for epoch in range(5) for seed in range(5)}
    assert len(orders) == 25
    with pytest.raises(ValueError, match="read-only"):
        permutation(50, 0)[0] = 1
