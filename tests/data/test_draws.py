"""The random numbers of the transforms."""

from itertools import combinations

import numpy as np
import pytest

from netspec.data.draws import Draw, Draws


@pytest.mark.parametrize("draw", Draw)
def test_numbers_are_even(draw):
    """Numbers fill their range evenly, to five standard deviations of chi-square."""
    counts, _ = np.histogram(Draws(np.arange(20000), 7).uniform(draw, -1, 3), 20, (-1, 3))
    assert counts.sum() == 20000
    assert ((counts - 1000) ** 2 / 1000).sum() < 19 + 5 * np.sqrt(38)


def test_draws_do_not_hang_together():
    """No two kinds of draws of the same records are correlated, nor those of a kind with another seed or attempt."""
    draws, other = Draws(np.arange(10000), 7), Draws(np.arange(10000), 8)
    numbers = [draws.uniform(draw, 0, 1) for draw in Draw]
    numbers += [other.uniform(Draw.ZOOM, 0, 1), draws.uniform(Draw.ZOOM, 0, 1, attempt=1)]
    assert all(abs(np.corrcoef(one, two)[0, 1]) < 0.05 for one, two in combinations(numbers, 2))


def test_a_draw_depends_on_seed_and_position_only():
    """A part of the positions has the numbers that it has in the whole."""
    whole = Draws(np.arange(100), 3).log_uniform(Draw.CROP_ASPECT, 0.5, 2)
    part = Draws(np.arange(40, 60), 3).log_uniform(Draw.CROP_ASPECT, 0.5, 2)
    np.testing.assert_array_equal(whole[40:60], part)
    assert 0.5 <= whole.min() < 0.6 < 1.8 < whole.max() <= 2
