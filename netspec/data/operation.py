"""What every operation on a batch of images looks like that is drawn anew for each image."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from netspec.data.draws import Draws

Numbers = NDArray[np.floating]


class Operation(Protocol):
    """One transform of a batch. Its draws are made in the background, on the CPU; the images lie on any device."""

    def draw(self, draws: Draws) -> Numbers:
        """What is drawn for each image, (N, K)."""

    def __call__(self, images: Tensor, numbers: Tensor, /) -> Tensor:
        """Images (N, C, H, W), float32 from 0 to 255, which may be overwritten, by what was drawn (N, K)."""
