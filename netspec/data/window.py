"""The WindowData layer: windows of images, cut out with their surroundings and stretched to one size (R-CNN)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from netspec.data.batches import TensorBatches, Tops
from netspec.data.datum import Pixels
from netspec.data.feed import Feed
from netspec.data.image_list import ImageFiles
from netspec.data.images import mean_of
from netspec.data.labels import LabelRule
from netspec.data.mean import Mean
from netspec.data.order import Indices, below, words
from netspec.data.resize import resize
from netspec.data.transform import Transform
from netspec.data.transform_fields import own_fields
from netspec.data.window_file import Windows, read_windows
from netspec.errors import DataError
from netspec.layers.base import LayerError
from netspec.layers.sources import SourceContext, source
from netspec.schema.netspec_pb2 import LayerParameter

_FIELD = "window_data_param"
_WINDOW, _MIRROR = 8, 9  # which draw of a position a random word is for


@dataclass(frozen=True)
class Side:
    """One axis of a window as it lies in the crop: the pixels `first` to `last` of the image, stretched to `size`,
    with `before` and `after` of padding around them."""

    first: int
    last: int
    size: int
    before: int = 0
    after: int = 0


def surround(first: int, last: int, half: np.float32, length: int, crop: int, pad: int) -> Side:
    """One axis of a window with its surroundings: what lies within `half` of its centre becomes crop - 2 * pad pixels,
    what is around it fills the `pad` on each side. Beyond the image, of `length` pixels, is padding. In single
    precision, and rounded half away from zero, as in Caffe."""
    scale = np.float32(crop) / np.float32(crop - 2 * pad)
    centre = np.float32(first) + np.float32(last - first + 1) / np.float32(2)
    first, last = _round(centre - half * scale), _round(centre + half * scale)
    zoom = np.float32(crop) / np.float32(last - first + 1)
    before, after = max(0, -first), max(0, last - length + 1)
    first, last = first + before, last - after
    sizes = (_round(np.float32(pixels) * zoom) for pixels in (last - first + 1, before, after))
    return Side(first, last, *sizes)


def _round(number: np.float32) -> int:
    return int(np.copysign(np.floor(abs(float(number)) + 0.5), number))


class WindowBatches(TensorBatches):
    """Batches with a share of foreground windows, which come after the background. `mean` (C, crop_size, crop_size) is
    that of the crop: it is not moved or mirrored with a window. Padding stays 0."""

    def __init__(
        self, windows: Windows, files: ImageFiles, param: LayerParameter, mean: Mean, seed: int, device: torch.device
    ) -> None:
        window, transform = param.window_data_param, param.transform_param
        self._windows, self._files, self._mean = windows, files, mean
        self._background, self._foreground = np.flatnonzero(windows.labels == 0), np.flatnonzero(windows.labels)
        self._background_size = window.batch_size - int(np.float32(window.batch_size) * np.float32(window.fg_fraction))
        if self._background_size < window.batch_size and not len(self._foreground):
            overlap = f"an overlap of {window.fg_threshold:g} or more"
            raise DataError(f"{windows.path}: no window is foreground, with {overlap}")
        if self._background_size and not len(self._background):
            raise DataError(f"{windows.path}: no window is background, with an overlap below {window.bg_threshold:g}")
        self._crop, self._pad, self._square = transform.crop_size, window.context_pad, window.crop_mode == "square"
        self._mirror, self._scale = transform.mirror, np.float32(transform.scale)
        super().__init__([(window.batch_size, *mean.shape), (window.batch_size,)], len(windows.labels), seed, device)

    def choose(self, positions: Indices) -> Indices:
        random = words(positions, self.seed, _WINDOW)
        background = below(random[: self._background_size], len(self._background))
        foreground = below(random[self._background_size :], len(self._foreground))
        return np.concatenate((self._background[background], self._foreground[foreground]))

    def load(self, chosen: Indices, positions: Indices) -> Tops:
        data = np.zeros((len(chosen), *self._mean.shape), np.float32)
        mirrored = self._mirror & (below(words(positions, self.seed, _MIRROR), 2) == 1)
        for top, index, mirror in zip(data, chosen.tolist(), mirrored, strict=True):
            try:
                self._put(top, index, mirror)
            except DataError as error:
                raise DataError(f"{self._windows.where(index)}: {error}") from None
        return torch.from_numpy(data), torch.from_numpy(self._windows.labels[chosen].astype(np.float32))

    def check_labels(self, rule: LabelRule) -> None:
        rule.hold(self._windows.labels, self._windows.where)

    def _put(self, top: NDArray[np.float32], index: int, mirror: bool) -> None:
        """Cut a window out of its image, stretch it, and write it into a crop of zeros."""
        image = self._files.read(self._windows.names[self._windows.image[index]], self._windows.channels == 3)
        y, x = self._sides(index, image)
        left = x.after if mirror else x.before
        # Rounding may make padding and window together larger than the crop.
        height, width = min(y.size, self._crop - y.before), min(x.size, self._crop - left)
        if height < 1 or width < 1:
            return
        window = resize(image[:, y.first : y.last + 1, x.first : x.last + 1], height, width)
        area = (slice(None), slice(y.before, y.before + height), slice(left, left + width))
        top[area] = (window[..., :: -1 if mirror else 1] - self._mean[area]) * self._scale

    def _sides(self, index: int, image: Pixels) -> tuple[Side, Side]:
        """Where a window lies in its image and in the crop, by height and by width."""
        _, height, width = image.shape
        x1, y1, x2, y2 = self._windows.corners[index].tolist()
        if self._pad or self._square:
            half_height, half_width = (np.float32(pixels) / np.float32(2) for pixels in (y2 - y1 + 1, x2 - x1 + 1))
            if self._square:
                half_height = half_width = max(half_height, half_width)
            sides = (
                surround(y1, y2, half_height, height, self._crop, self._pad),
                surround(x1, x2, half_width, width, self._crop, self._pad),
            )
        else:
            sides = Side(y1, y2, self._crop), Side(x1, x2, self._crop)
        for side, length in zip(sides, (height, width), strict=True):
            if not 0 <= side.first <= side.last < length:
                raise DataError(f"the window ({x1}, {y1}, {x2}, {y2}) lies outside the image of {width}x{height}")
        return sides


@source("WindowData")
class WindowData(Feed):
    """(pixel - mean) * scale of windows of images, stretched to crop_size: R-CNN's training data.

    `source` is R-CNN's window file. Tops: windows (N, C, crop_size, crop_size); labels (N), 0 for background. Each
    batch draws int(N * fg_fraction) windows with an overlap from `fg_threshold` on, and before them others below
    `bg_threshold`. `context_pad` pixels of the crop show what is around the window, "square" takes the tightest square
    around it instead of stretching it. A pass over every record takes each window once.
    """

    def __init__(self, param: LayerParameter, context: SourceContext) -> None:
        _refuse(param)
        window = param.window_data_param
        windows = read_windows(context.find(window.source)).sorted_out(window.fg_threshold, window.bg_threshold)
        files = ImageFiles(window.root_folder, context.find, window.cache_images)
        mean = _mean(param, windows.channels, context)
        batches = WindowBatches(windows, files, param, mean, context.seed, context.device)
        super().__init__(batches, param.data_param.prefetch, context, [windows.path])


def _refuse(param: LayerParameter) -> None:
    window, crop = param.window_data_param, param.transform_param.crop_size
    if not window.source:
        raise LayerError("source is missing: the window file", _FIELD, "source")
    if not window.batch_size:
        raise LayerError("batch_size is missing or 0", _FIELD, "batch_size")
    if not crop:
        raise LayerError("crop_size is missing: windows are stretched to it", "transform_param", "crop_size")
    for name in own_fields(param.transform_param):
        raise LayerError(f"{name} is not for windows: they are only cropped and mirrored", "transform_param", name)
    if not 0 <= window.fg_fraction <= 1:
        raise LayerError(f"fg_fraction must be from 0 to 1, not {window.fg_fraction:g}", _FIELD, "fg_fraction")
    if crop <= 2 * window.context_pad:
        reason = f"context_pad {window.context_pad} on both sides leaves nothing of crop_size {crop}"
        raise LayerError(reason, _FIELD, "context_pad")
    if window.crop_mode not in ("warp", "square"):
        raise LayerError(f'crop_mode must be "warp" or "square", not "{window.crop_mode}"', _FIELD, "crop_mode")


def _mean(param: LayerParameter, channels: int, context: SourceContext) -> Mean:
    """What is taken off every crop: the middle of the mean image, as far from its top as from its left, or values."""
    transform, crop = param.transform_param, param.transform_param.crop_size
    shape = (channels, crop, crop)
    Transform(transform, context.phase, shape)  # refuses what makes no sense
    stored = mean_of(transform, context.find)
    if stored is None:
        values = np.array(transform.mean_value or [0], np.float32)
        return np.broadcast_to(values[:, None, None], shape)
    first = (stored.shape[2] - crop) // 2
    middle = stored[:, first : first + crop, first : first + crop]
    if middle.shape != shape:
        raise LayerError(f"mean_file is {stored.shape}, too small for crops of {shape}", "transform_param", "mean_file")
    return middle
