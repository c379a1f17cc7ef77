"""Random erasing: a rectangle of some images becomes 0 (Zhong et al. 2020)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from netspec.data.draws import Draw, Draws
from netspec.data.operation import Numbers
from netspec.data.rectangles import Rectangles
from netspec.layers.base import Shape
from netspec.schema.netspec_pb2 import TransformationParameter

_ASPECT = 0.3, 1 / 0.3
_ATTEMPTS = 100


class Erasing:
    """Erase a rectangle of a random part of the area, its aspect between 0.3 and 1 / 0.3, anywhere inside. One that
    would not fit is drawn again; after a hundred times the image stays whole."""

    def __init__(self, param: TransformationParameter, shape: Shape) -> None:
        self._probability, self._height, self._width = param.erasing_probability, *shape[1:]
        area = param.erasing_area_min, param.erasing_area_max
        self._rectangles = Rectangles(Draw.ERASED_AREA, area, Draw.ERASED_ASPECT, _ASPECT, _ATTEMPTS)

    def draw(self, draws: Draws) -> Numbers:
        """Rectangles (N, 4): top, bottom, left, right, the ends behind the last pixel; empty where nothing is
        erased."""
        height, width = (np.full(len(draws.positions), side) for side in (self._height, self._width))
        tall, wide, _ = self._rectangles.draw(draws, height, width, draws.chance(Draw.ERASE, self._probability))
        top, left = draws.below(Draw.ERASED_Y, height - tall + 1), draws.below(Draw.ERASED_X, width - wide + 1)
        return np.stack([top, top + tall, left, left + wide], 1)

    def __call__(self, images: Tensor, rectangles: Tensor) -> Tensor:
        """Images (N, C, H, W), overwritten."""
        top, bottom, left, right = rectangles[:, :, None].unbind(1)
        rows = torch.arange(0.0, self._height, device=images.device)
        columns = torch.arange(0.0, self._width, device=images.device)
        inside_rows, inside_columns = (rows >= top) & (rows < bottom), (columns >= left) & (columns < right)
        return images.masked_fill_((inside_rows[:, :, None] & inside_columns[:, None, :])[:, None], 0)
