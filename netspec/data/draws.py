"""The random numbers of the transforms that Caffe has not: one of each kind for every record handed out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from netspec.data.order import Indices, below, unit, words

Floats = NDArray[np.float64]
_SPACE = 0x7472616E73  # apart from the draws of Caffe's transform and of the order


class Draw(IntEnum):
    """What a random word is for. Numbers stay: a resumed run must see the draws of the run that it resumes."""

    MIRROR_VERTICAL = 1
    ROTATION = 2
    ZOOM = 3
    SHIFT_Y = 4
    SHIFT_X = 5
    BRIGHTNESS = 6
    CONTRAST = 7
    SATURATION = 8
    SIGMA = 9
    ERASE = 10
    ERASED_AREA = 11
    ERASED_ASPECT = 12
    ERASED_Y = 13
    ERASED_X = 14
    CROP_AREA = 15
    CROP_ASPECT = 16
    CROP_Y = 17
    CROP_X = 18


@dataclass(frozen=True)
class Draws:
    """The draws of the records at some positions (N,); each depends on nothing but seed, position and purpose."""

    positions: Indices
    seed: int

    def uniform(self, draw: Draw, low: float, high: float, attempt: int = 0) -> Floats:
        """Numbers from `low` to `high` (N,)."""
        return low + (high - low) * unit(self._words(draw, attempt))

    def log_uniform(self, draw: Draw, low: float, high: float, attempt: int = 0) -> Floats:
        """Numbers from `low` to `high` (N,), even in their logarithm."""
        logarithms = self.uniform(draw, float(np.log(low)), float(np.log(high)), attempt)
        numbers: Floats = np.exp(logarithms)
        return numbers

    def below(self, draw: Draw, bounds: Indices | int) -> Indices:
        """Whole numbers from 0 to below a bound (N,)."""
        return below(self._words(draw, 0), bounds)

    def chance(self, draw: Draw, probability: float) -> NDArray[np.bool_]:
        """True with a probability (N,)."""
        return unit(self._words(draw, 0)) < probability

    def _words(self, draw: Draw, attempt: int) -> NDArray[np.uint64]:
        return words(self.positions, self.seed, _SPACE, draw, attempt)
