"""Windows of images and mirror images, with numpy on the CPU and with torch on a device, to the same bits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor

from netspec.data.datum import Pixels
from netspec.data.operation import Numbers
from netspec.data.order import Indices


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

    def flips(self) -> list[tuple[int, NDArray[np.bool_]]]:
        """The axes along which some images are turned, and which images."""
        axes = [(-1, self.mirror), (-2, self.mirror_vertical)]
        return [(axis, turned) for axis, turned in axes if turned is not None and turned.any()]


def cut(images: Pixels, drawn: Drawn, height: int, width: int) -> Pixels:
    """The windows (N, C, height, width) of images (N, C, H, W), mirrored where drawn."""
    own = False
    if images.shape[2:] != (height, width):
        y, x = drawn.y[0], drawn.x[0]
        if (drawn.y == y).all() and (drawn.x == x).all():
            images = images[:, :, y : y + height, x : x + width]
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
    if not drawn.flips() and (drawn.y == drawn.y[0]).all() and (drawn.x == drawn.x[0]).all():
        return mean[None, :, drawn.y[0] : drawn.y[0] + height, drawn.x[0] : drawn.x[0] + width]
    windows = sliding_window_view(np.stack((mean, mean[..., ::-1])), (height, width), axis=(2, 3))
    x = np.where(drawn.mirror, mean.shape[2] - width - drawn.x, drawn.x)
    cut_out: NDArray[np.float32] = windows[drawn.mirror.astype(np.int64), :, drawn.y, x]
    if drawn.mirror_vertical is not None:
        cut_out[drawn.mirror_vertical] = cut_out[drawn.mirror_vertical, :, ::-1]
    return cut_out


def cut_on_device(images: Tensor, drawn: Drawn, height: int, width: int) -> Tensor:
    """The same with torch, where the images lie."""
    if images.shape[2:] != (height, width):
        y, x = drawn.y[0], drawn.x[0]
        if (drawn.y == y).all() and (drawn.x == x).all():
            images = images[:, :, y : y + height, x : x + width]
        else:
            windows = images.unfold(2, height, 1).unfold(3, width, 1)
            ys, xs = (torch.from_numpy(offsets).to(images.device) for offsets in (drawn.y, drawn.x))
            images = windows[torch.arange(len(images), device=images.device), :, ys, xs]
    for axis, turned in drawn.flips():
        where = torch.from_numpy(turned).to(images.device)[:, None, None, None]
        images = torch.where(where, images.flip(axis), images)
    return images


def padded(images: Tensor, pad: int, fill: NDArray[np.float32]) -> Tensor:
    """Images (N, C, H, W) with `pad` pixels of a colour (C, 1, 1) on each side; uint8 stays so for a whole colour."""
    if (fill % 1).any():
        images = images.to(torch.float32)
    count, channels, height, width = images.shape
    out = images.new_empty(count, channels, height + 2 * pad, width + 2 * pad)
    out[:] = torch.from_numpy(fill)
    out[:, :, pad : pad + height, pad : pad + width] = images
    return out
