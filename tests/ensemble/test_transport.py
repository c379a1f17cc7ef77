"""The best assignment of images to classes with given counts."""

from itertools import product

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from netspec.ensemble.transport import Transport

GAINS = st.integers(1, 6).flatmap(
    lambda images: st.lists(st.lists(st.integers(-9, 9), min_size=3, max_size=3), min_size=images, max_size=images)
)


def total(gains: np.ndarray, classes: np.ndarray) -> int:
    """What an assignment gains."""
    return int(gains[np.arange(len(gains)), classes].sum())


@given(GAINS, st.integers(0, 2**20))
def test_no_assignment_gains_more(rows: list[list[int]], choice: int) -> None:
    """Of all assignments of up to six images to three classes with the same counts, tried one by one, none is better;
    and the prices leave every image where it is."""
    gains = np.array(rows)
    every = list(product(range(3), repeat=len(gains)))
    counts = np.bincount(every[choice % len(every)], minlength=3)
    transport = Transport(gains)
    transport.move_to(counts)
    assert np.array_equal(transport.counts, counts)
    rivals = (np.array(one) for one in every)
    best = max(total(gains, one) for one in rivals if np.array_equal(np.bincount(one, minlength=3), counts))
    assert total(gains, transport.classes) == best
    priced = gains + transport.prices()
    assert (priced.max(1) - priced[np.arange(len(gains)), transport.classes] < 1e-9).all()


def test_an_image_moves_by_way_of_another() -> None:
    """The cheapest way from class 0 to 2 is that one image goes from 0 to 1 and another from 1 to 2."""
    gains = np.array([[10, 9, 0], [10, 5, 0], [0, 10, 9]])
    transport = Transport(gains)
    assert transport.classes.tolist() == [0, 0, 1]
    transport.move_to(np.array([1, 1, 1]))
    assert transport.classes.tolist() == [1, 0, 2]


def test_prices_tell_apart_what_can_be_told_apart() -> None:
    """With them each image's class is the only one with its largest gain."""
    gains = np.random.default_rng(0).integers(-1000, 1000, (200, 8)) * 1000 + np.arange(1600).reshape(200, 8) % 997
    transport = Transport(gains)
    transport.move_to(np.full(8, 25))
    priced = np.sort(gains + transport.prices(), axis=1)
    assert (priced[:, -1] > priced[:, -2]).all()
