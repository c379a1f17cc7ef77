"""Windows of images and mirror images, with numpy on the CPU and with torch on a device, to the same bits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import EllipsisType

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor

from netspec.data.datum import Pixels
from netspec.data.operation import Numbers
from netspec.data.order import Indices

Window = tuple[Indices, Indices, bool]
"""Where each image of a batch is cut, y and x (N,), and whether all are mirrored."""

Windows = Callable[[Indices, Indices, Indices], Iterable[Window]]
"""What gives the windows to cut out of each image of a batch, by its position and how many pixels a window has to move
down and right, three arrays (N,)."""


@dataclass(frozen=True)
class Drawn:
    """What is drawn for the images of a batch: where each is cut and whether it is mirrored, three arrays (N,).

    Beside them what Caffe has not: whether it is turned upside down (N,), the box (N, 4) that a random resized crop
    takes, and the numbers (N, K) of each operation.
    """

    y: Indices
    x: Indices
    mirror: NDArray[np.bool_]
    mirror_vertical: NDArray[np.bool_] | None = None
    boxes: Numbers | None = None
    numbers: Sequence[Numbers] = field(default=())
    window: tuple[int, int] | None = None
    """Where every batch is cut; None where that is drawn, or differs with the images' sizes."""
    axes: tuple[int, ...] = (-1, -2)
    """The axes along which some images of any batch may be turned."""

    def one_window(self, height: int, width: int) -> tuple[EllipsisType, slice, slice] | None:
        """The index of what is cut, where it is the same in all images."""
        y, x = self.y[0], self.x[0]
        if (self.y == y).all() and (self.x == x).all():
            return ..., slice(y, y + height), slice(x, x + width)
        return None

    def flips(self) -> list[tuple[int, NDArray[np.bool_]]]:
        """The axes along which some images are turned, and which images."""
        axes = [(-1, self.mirror), (-2, self.mirror_vertical)]
        return [(axis, turned) for axis, turned in axes if turned is not None and turned.any()]

    def table(self) -> Tensor:
        """All of it as one tensor, which moves to a device as one: y, x, whether mirrored, whether upside down, the box
        if there is one, and the numbers; float32, in which pixels are counted exactly."""
        upside_down = np.zeros_like(self.mirror) if self.mirror_vertical is None else self.mirror_vertical
        boxes = [] if self.boxes is None else [self.boxes]
        columns = np.stack([self.y, self.x, self.mirror, upside_down], 1)
        return torch.from_numpy(np.hstack([columns, *boxes, *self.numbers]).astype(np.float32))

    def of_table(self, table: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The boxes, (N, 0) where there are none, and the numbers of each operation, out of the table wherever it
        lies."""
        widths = [0 if self.boxes is None else 4, *(numbers.shape[1] for numbers in self.numbers)]
        boxes, *numbers = torch.split_with_sizes(table[:, 4:], widths, 1)
        return boxes, numbers


def cut(images: Pixels, drawn: Drawn, height: int, width: int) -> Pixels:
    """The windows (N, C, height, width) of images (N, C, H, W), mirrored where drawn."""
    own = False
    if images.shape[2:] != (height, width):
        if window := drawn.one_window(height, width):
            images = images[window]
        else:
            windows = sliding_window_view(images, (height, width), axis=(2, 3))
            images, own = windows[np.arange(len(images)), :, drawn.y, drawn.x], True
    for axis, turned in drawn.flips():
        images, own = images if own else images.copy(), True
        images[turned] = np.flip(images[turned], axis)
    return images


def cut_mean(mean: NDArray[np.float32], drawn: Drawn, height: int, width: int) -> NDArray[np.float32]:
    """The windows (N, C, height, width) of one image (C, H, W), or the one (1, C, height, width) if all are the same,
    mirrored where drawn. Left-right they are cut out of the mirror image: to turn floats takes longer."""
    if not drawn.flips() and (window := drawn.one_window(height, width)):
        return mean[window][None]
    windows = sliding_window_view(np.stack((mean, mean[..., ::-1])), (height, width), axis=(2, 3))
    x = np.where(drawn.mirror, mean.shape[2] - width - drawn.x, drawn.x)
    cut_out: NDArray[np.float32] = windows[drawn.mirror.astype(np.int64), :, drawn.y, x]
    if drawn.mirror_vertical is not None:
        cut_out[drawn.mirror_vertical] = cut_out[drawn.mirror_vertical, :, ::-1]
    return cut_out


def cut_on_device(images: Tensor, drawn: Drawn, table: Tensor, height: int, width: int) -> Tensor:
    """What `cut` does, with torch where the images and the table of what is drawn lie: by the same operations in every
    batch."""
    if images.shape[2:] != (height, width):
        if drawn.window:
            y, x = drawn.window
            images = images[..., y : y + height, x : x + width]
        else:
            windows = images.unfold(2, height, 1).unfold(3, width, 1)
            ys, xs = table[:, :2].long().unbind(1)
            images = windows[torch.arange(len(images), device=images.device), :, ys, xs]
    for axis in drawn.axes:
        turned = table[:, 2 if axis == -1 else 3, None, None, None] > 0
        images = torch.where(turned, images.flip(axis), images)
    return images


def padded(images: Tensor, pad: int, fill: NDArray[np.float32]) -> Tensor:
    """Images (N, C, H, W) with `pad` pixels of a colour (C, 1, 1) on each side; uint8 stays so for a whole colour."""
    if (fill % 1).any():
        images = images.to(torch.float32)
    count, channels, height, width = images.shape
    out = images.new_empty(count, channels, height + 2 * pad, width + 2 * pad)
    for plane, value in zip(out.unbind(1), np.broadcast_to(fill.ravel(), channels).tolist(), strict=True):
        plane.fill_(value)
    out[:, :, pad : pad + height, pad : pad + width] = images
    return out
