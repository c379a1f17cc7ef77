"""Rectangles of random area and aspect, as random resized crops and random erasing draw them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netspec.data.draws import Draw, Draws
from netspec.data.order import Indices


@dataclass(frozen=True)
class Rectangles:
    """Part of the area, drawn evenly, and width over height, drawn evenly in its logarithm, each with its word. One
    that does not fit is drawn again, up to `attempts` times in all."""

    area_draw: Draw
    area: tuple[float, float]
    aspect_draw: Draw
    aspect: tuple[float, float]
    attempts: int

    def draw(
        self, draws: Draws, height: Indices, width: Indices, wanted: NDArray[np.bool_]
    ) -> tuple[Indices, Indices, NDArray[np.bool_]]:
        """Heights and widths in pixels within images of a height and a width, all (N,), 0 where none is `wanted` or
        none fits; and where one was wanted and none fits."""
        heights, widths, missing = np.zeros_like(height), np.zeros_like(width), wanted.copy()
        for attempt in range(self.attempts):
            if not missing.any():
                break
            area = draws.uniform(self.area_draw, *self.area, attempt) * height * width
            aspect = draws.log_uniform(self.aspect_draw, *self.aspect, attempt)
            tall, wide = (np.rint(np.sqrt(square)).astype(np.int64) for square in (area / aspect, area * aspect))
            fits = missing & (tall > 0) & (wide > 0) & (tall <= height) & (wide <= width)
            heights[fits], widths[fits] = tall[fits], wide[fits]
            missing &= ~fits
        return heights, widths, missing
