"""Caffe's image transform on whole batches: crop, mirror, mean and scale, drawn anew for every record handed out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor

from netspec.data.datum import Pixels
from netspec.data.order import Indices, below, words
from netspec.layers.base import LayerError, Shape
from netspec.schema.netspec_pb2 import TRAIN, TransformationParameter

_Y, _X, _MIRROR = 1, 2, 3  # which draw of a record a random word is for


@dataclass(frozen=True)
class Crops:
    """Where each image of a batch is cut, and whether it is mirrored: three arrays (N,)."""

    y: Indices
    x: Indices
    mirror: NDArray[np.bool_]


class Transform:
    """(crop(image) - mean) * scale, as Caffe's data transformer computes it.

    Training crops at random and testing in the centre, floor((H - crop_size) / 2); `mirror` acts in both phases. All
    draws depend only on (seed, position), where a record's position is the number of records handed out before it.
    `shape` is that of the stored images (C, H, W), `mean` what `mean_file` holds. Raises LayerError.
    """

    def __init__(
        self,
        param: TransformationParameter,
        phase: int,
        shape: Shape,
        seed: int = 0,
        mean: NDArray[np.float32] | None = None,
    ) -> None:
        self._crop = param.crop_size
        self._mirror = param.mirror
        self._random = phase == TRAIN
        self.seed = seed
        self._scale = param.scale
        self._shape = shape
        self._mean_image = mean
        self._mean_value = np.array(param.mean_value, np.float32)[:, None, None] if param.mean_value else None
        self._refuse(param)
        self.output_shape: Shape = (shape[0], self._crop, self._crop) if self._crop else shape

    def _refuse(self, param: TransformationParameter) -> None:
        channels, height, width = self._shape
        if self._crop > min(height, width):
            raise LayerError(
                f"crop_size {self._crop} is larger than the images, {_text(self._shape)}",
                "transform_param",
                "crop_size",
            )
        if param.mean_value and param.HasField("mean_file"):
            raise LayerError("give mean_file or mean_value, not both", "transform_param", "mean_value")
        if len(param.mean_value) not in (0, 1, channels):
            raise LayerError(
                f"{len(param.mean_value)} mean_value for images of {channels} channels; give 1 or {channels}",
                "transform_param",
                "mean_value",
            )
        if self._mean_image is not None and self._mean_image.shape != self._shape:
            raise LayerError(
                f"mean_file is {_text(self._mean_image.shape)}, the uncropped images are {_text(self._shape)}",
                "transform_param",
                "mean_file",
            )

    def takes(self, shape: Shape) -> bool:
        """Whether an image of another size than the first can be cropped like it."""
        return 0 < self._crop <= min(shape[1:]) and self._mean_image is None

    def draw(self, positions: Indices, sizes: NDArray[np.int64] | None = None) -> Crops:
        """The crops of the records at these positions; `sizes` (N, 2) where the images' (H, W) differ."""
        height, width = self._shape[1:] if sizes is None else sizes.T
        crop_height, crop_width = self.output_shape[1:]
        mirror = np.zeros(len(positions), np.bool_)
        if self._mirror:
            mirror = below(words(positions, self.seed, _MIRROR), 2) == 1
        if self._crop and self._random:
            y = below(words(positions, self.seed, _Y), height - crop_height + 1)
            x = below(words(positions, self.seed, _X), width - crop_width + 1)
            return Crops(y, x, mirror)
        zero = np.zeros(len(positions), np.int64)
        return Crops(zero + (height - crop_height) // 2, zero + (width - crop_width) // 2, mirror)

    def __call__(self, images: Tensor | Sequence[Tensor], crops: Crops) -> Tensor:
        """Images (N, C, H, W), uint8 or float32, or a list of images of several sizes, to float32 (N, C, h, w)."""
        if not isinstance(images, Tensor):
            c = self._crop
            cut = [image[:, y : y + c, x : x + c] for image, y, x in zip(images, crops.y, crops.x, strict=True)]
            images, crops = torch.stack(cut), Crops(np.zeros_like(crops.y), np.zeros_like(crops.x), crops.mirror)
        if images.device.type == "cpu":
            # numpy computes on the calling thread alone; torch would take the other cores from the training.
            return torch.from_numpy(self._on_cpu(images.numpy(), crops))
        return self._on_device(images, crops)

    def _on_cpu(self, images: Pixels, crops: Crops) -> NDArray[np.float32]:
        cut = self._cut(images, crops)
        mean = self._mean_value
        if self._mean_image is not None:
            mean = self._cut(np.broadcast_to(self._mean_image, images.shape), crops)
        out = np.array(cut, np.float32) if mean is None else np.subtract(cut, mean, dtype=np.float32)
        if self._scale != 1:
            out *= np.float32(self._scale)
        return out

    def _cut(self, images: Pixels, crops: Crops) -> Pixels:
        _, height, width = self.output_shape
        if images.shape[2:] != (height, width):
            if self._random:
                windows = sliding_window_view(images, (height, width), axis=(2, 3))
                images = windows[np.arange(len(images)), :, crops.y, crops.x]
            else:
                y, x = crops.y[0], crops.x[0]
                images = images[:, :, y : y + height, x : x + width]
        if crops.mirror.any():
            images = images.copy()
            images[crops.mirror] = images[crops.mirror][..., ::-1]
        return images

    def _on_device(self, images: Tensor, crops: Crops) -> Tensor:
        out = self._cut_on_device(images, crops).to(torch.float32, copy=True)
        if self._mean_image is not None:
            mean = torch.from_numpy(self._mean_image).to(out.device)
            out -= self._cut_on_device(mean.expand(images.shape), crops)
        if self._mean_value is not None:
            out -= torch.from_numpy(self._mean_value).to(out.device)
        return out.mul_(self._scale) if self._scale != 1 else out

    def _cut_on_device(self, images: Tensor, crops: Crops) -> Tensor:
        _, height, width = self.output_shape
        if images.shape[2:] != (height, width):
            if self._random:
                windows = images.unfold(2, height, 1).unfold(3, width, 1)
                y, x = (torch.from_numpy(offsets).to(images.device) for offsets in (crops.y, crops.x))
                images = windows[torch.arange(len(images), device=images.device), :, y, x]
            else:
                y, x = crops.y[0], crops.x[0]
                images = images[:, :, y : y + height, x : x + width]
        if crops.mirror.any():
            mirror = torch.from_numpy(crops.mirror).to(images.device)[:, None, None, None]
            images = torch.where(mirror, images.flip(-1), images)
        return images


def _text(shape: Shape) -> str:
    return "x".join(map(str, shape))
