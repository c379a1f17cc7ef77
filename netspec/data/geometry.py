"""Rotation, zoom and shift of images, drawn for each, in one resampling."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from netspec.data.draws import Draw, Draws, Floats
from netspec.data.operation import Numbers
from netspec.data.resample import BICUBIC, BILINEAR, NEAREST, bounded
from netspec.layers.base import Shape
from netspec.schema.netspec_pb2 import TransformationParameter

_MODES = {BILINEAR: "bilinear", NEAREST: "nearest", BICUBIC: "bicubic"}


class Affine:
    """Rotate counter-clockwise and enlarge about the centre, then shift; what comes from outside is `fill`.

    Every image has a matrix of its own, from its pixels to those they are read from: torchvision's `affine` with
    angle -rotation, one image at a time, gives the same.
    """

    def __init__(self, param: TransformationParameter, shape: Shape, fill: NDArray[np.float32]) -> None:
        self._param, self._height, self._width = param, *shape[1:]
        self._mode = _MODES[param.interpolation]
        self._fill = torch.from_numpy(fill) if fill.any() else None

    @staticmethod
    def wanted(param: TransformationParameter) -> bool:
        """Whether the message asks for any of it."""
        zoomed = (param.zoom_min, param.zoom_max) != (1, 1)
        return bool(param.rotation or param.rotation_choice or param.shift or zoomed)

    def draw(self, draws: Draws) -> Numbers:
        """Matrices (N, 6): rows for x and y, in halves of the image's sides from its centre."""
        param, height, width = self._param, self._height, self._width
        angle = np.radians(self._degrees(draws))
        zoom = draws.uniform(Draw.ZOOM, param.zoom_min, param.zoom_max)
        down = 2 * draws.uniform(Draw.SHIFT_Y, -param.shift, param.shift)
        right = 2 * draws.uniform(Draw.SHIFT_X, -param.shift, param.shift)
        cos, sin = np.cos(angle) / zoom, np.sin(angle) / zoom
        x_of_y, y_of_x = -sin * height / width, sin * width / height
        rows = [cos, x_of_y, -cos * right - x_of_y * down, y_of_x, cos, -y_of_x * right - cos * down]
        return np.stack(rows, 1)

    def _degrees(self, draws: Draws) -> Floats:
        if not self._param.rotation_choice:
            return draws.uniform(Draw.ROTATION, -self._param.rotation, self._param.rotation)
        choice = np.array([*self._param.rotation_choice, *[0] * self._param.mirror_or_rotate], np.float64)
        degrees: Floats = choice[draws.below(Draw.ROTATION, len(choice))]
        return degrees

    def __call__(self, images: Tensor, matrices: Tensor) -> Tensor:
        """Images of the same size."""
        grid = self._places(matrices.view(-1, 2, 3, 1, 1))
        if self._fill is not None:
            self._fill = self._fill.to(images.device)  # once: that waits for all that is at work there
            images = images - self._fill  # so that the zeros outside become the fill
        images = F.grid_sample(images, grid, mode=self._mode, padding_mode="zeros", align_corners=False)
        if self._fill is not None:
            images += self._fill
        return bounded(images, self._param.interpolation)

    def _places(self, matrices: Tensor) -> Tensor:
        """Where each pixel is read, (N, H, W, 2): F.affine_grid without its matrix product, which a GPU may round."""
        y, x = (
            torch.arange(1.0 - side, side, 2, device=matrices.device) / side for side in (self._height, self._width)
        )
        across, down, offset = matrices.unbind(2)
        places = torch.addcmul(torch.addcmul(offset, down, y[:, None]), across, x)
        return places.permute(0, 2, 3, 1)


def mirrored_instead(param: TransformationParameter, draws: Draws) -> NDArray[np.bool_]:
    """Which images are mirrored in place of a rotation (N,): that is the choice after those of `rotation_choice`."""
    choices = len(param.rotation_choice)
    instead: NDArray[np.bool_] = draws.below(Draw.ROTATION, choices + 1) == choices
    return instead
