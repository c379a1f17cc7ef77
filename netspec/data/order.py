"""Random words and record orders that depend on nothing but their arguments.

A resumed run must see the draws of an uninterrupted one on any machine and with any numpy, so the words come from a
counter-based generator written out here and not from a library's stream.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
Words = NDArray[np.uint64]

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1
_SKIP = 4  # the draw of rand_skip, beside those of the transform


def words(counters: Indices, *key: int) -> Words:
    """One 64-bit word a counter: SplitMix64 (Steele, Lea and Flood 2014), its start mixed from the numbers of `key`."""
    return _mix(_start(*key) + (counters.astype(np.uint64) + np.uint64(1)) * np.uint64(_GOLDEN))


@lru_cache(maxsize=64)
def _start(*key: int) -> Words:
    """Where the words of a key start: every batch asks for the same few."""
    state = np.zeros(1, np.uint64)
    for number in key:
        state = _mix(state + np.uint64((number + 1) * _GOLDEN & _MASK))
    state.setflags(write=False)
    return state


def below(random: Words, bounds: Indices | int) -> Indices:
    """Scale words to integers in [0, bound), for bounds up to 2^31."""
    scaled = (random >> np.uint64(32)) * np.asarray(bounds, np.uint64) >> np.uint64(32)
    numbers: Indices = scaled.astype(np.int64)
    return numbers


def unit(random: Words) -> NDArray[np.float64]:
    """Words as numbers in [0, 1)."""
    numbers: NDArray[np.float64] = (random >> np.uint64(11)) * 2.0**-53
    return numbers


@lru_cache(maxsize=4)
def permutation(size: int, *key: int) -> Indices:
    """The numbers 0..size-1 in an order that depends only on `size` and `key`."""
    order = np.argsort(words(np.arange(size), *key), kind="stable")
    order.setflags(write=False)
    return order


def indices(position: int, count: int, size: int, seed: int, shuffle: bool) -> Indices:
    """The `count` records of a set of `size` that follow after `position` records were handed out.

    Without `shuffle` Caffe's order, which wraps round; with it every epoch is a permutation of the set, drawn from
    (seed, epoch) alone. A batch may span epochs.
    """
    positions = np.arange(position, position + count)
    return in_epochs(positions, size, lambda epoch: permutation(size, seed, epoch)) if shuffle else positions % size


def in_epochs(positions: Indices, size: int, order: Callable[[int], Indices]) -> Indices:
    """The records of a set of `size` at some positions, where `order` gives the order of each epoch."""
    epochs, places = np.divmod(positions, size)
    for epoch in set(epochs.tolist()):
        here = epochs == epoch
        places[here] = order(epoch)[places[here]]
    return places


@dataclass(frozen=True)
class Order:
    """Which records of a set of `size` come at which positions: at position `start` one below `rand_skip` (the first
    one where that is 0), drawn from the seed; then as `indices` says."""

    size: int
    shuffle: bool = False
    rand_skip: int = 0
    start: int = 0

    def __call__(self, positions: Indices, seed: int) -> Indices:
        skip = int(below(words(np.zeros(1, np.int64), seed, _SKIP), self.rand_skip)[0])
        return indices(int(positions[0]) - self.start + skip, len(positions), self.size, seed, self.shuffle)


def _mix(state: Words) -> Words:
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    state ^= state >> np.uint64(31)
    return state
