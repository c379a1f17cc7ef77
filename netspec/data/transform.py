"""The transform of whole batches: Caffe's crop, mirror, mean and scale, and what Caffe has not around them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from netspec.data.blur import Blur
from netspec.data.buffers import Buffers
from netspec.data.colour import Colour
from netspec.data.crops import Drawn, Windows, cut, cut_mean, cut_on_device, padded
from netspec.data.datum import Pixels
from netspec.data.draws import Draw, Draws
from netspec.data.erasing import Erasing
from netspec.data.geometry import Affine, mirrored_instead
from netspec.data.operation import Operation
from netspec.data.order import Indices, below, words
from netspec.data.resample import RandomResizedCrop, Resize
from netspec.data.transform_fields import check_blur, check_caffe, check_crop, check_own, size_of
from netspec.layers.base import Shape
from netspec.schema.netspec_pb2 import TRAIN, TransformationParameter

_Y, _X, _MIRROR = 1, 2, 3  # which draw of a record a random word is for
_PART_BYTES = 400_000  # what is computed with at once, so that it stays in the processor's cache


class Transform:
    """(crop(image) - mean) * scale, as Caffe's data transformer computes it, and what Caffe has not.

    Training crops at random and testing in the centre, floor((H - crop_size) / 2); `mirror` acts in both phases, other
    random transforms in training only. The order: resize, pad, crop (or random resized crop), mirror, upside down;
    rotation, zoom and shift; output_size; colour; blur; mean, deviation, scale; erasing. A mean image is cropped and
    mirrored like the image, not rotated.

    All draws depend only on (seed, position), where a record's position is the number of records handed out before it.
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
        self.seed = seed
        self._param, self._random, self._mean_image = param, phase == TRAIN, mean
        self._buffers, self._constants = Buffers(), dict[tuple[int, torch.device], Tensor]()
        check_own(param, shape[0])
        self._fill = np.array(param.fill or [0], np.float32)[:, None, None]
        size = size_of(param, "resize")
        self._resize = Resize(size, param.interpolation) if size else None
        self._resized_crop = self._make_resized_crop()
        self._uncropped: Shape = (shape[0], *(side + 2 * param.pad for side in size or shape[1:]))
        check_caffe(param, self._uncropped, None if mean is None else mean.shape)
        if not self._resized_crop:
            check_crop(param, self._uncropped)
        side = param.crop_size
        self._cropped: Shape = (shape[0], side, side) if side else self._uncropped
        self._operations, self.output_shape = self._make_operations()
        self._erasing = Erasing(param, self.output_shape) if self._random and param.erasing_probability else None
        self._mean_value = np.array(param.mean_value, np.float32)[:, None, None] if param.mean_value else None
        # Subtracting is faster where numpy need not repeat a value along the rows.
        self._mean_values = (
            None if self._mean_value is None else np.broadcast_to(self._mean_value, self._cropped).copy()
        )
        self._factor = np.float32(param.scale) / np.array(param.std_value or [1], np.float32)[:, None, None]
        changed = size, param.pad, self._resized_crop, self._operations, self._erasing, param.std_value
        self._only_caffe = not any(changed) and not param.standardize

    def _make_resized_crop(self) -> RandomResizedCrop | None:
        param = self._param
        if not self._random or not param.HasField("random_resized_crop"):
            return None
        return RandomResizedCrop(param.random_resized_crop, param.crop_size, param.interpolation)

    def _make_operations(self) -> tuple[list[Operation], Shape]:
        """What is done between the crop and the mean, and the shape (C, H, W) that comes of it."""
        param, operations = self._param, list[Operation]()
        shape = self._cropped
        if self._random and Affine.wanted(param):
            operations.append(Affine(param, shape, self._fill))
        if size := size_of(param, "output_size"):
            operations.append(Resize(size, param.interpolation))
            shape = (shape[0], *size)
        if self._random and Colour.wanted(param):
            operations.append(Colour(param))
        if param.blur_kernel:
            check_blur(param, shape)
        if self._random and param.blur_kernel:
            operations.append(Blur(param))
        return operations, shape

    def takes(self, shape: Shape) -> bool:
        """Whether an image of another size than the first can be made like it."""
        if self._resize:
            return True
        cropped = 0 < self._param.crop_size <= min(shape[1:]) + 2 * self._param.pad
        return self._mean_image is None and (cropped or self._resized_crop is not None)

    def draw(self, positions: Indices, sizes: NDArray[np.int64] | None = None) -> Drawn:
        """The draws for the records at these positions; `sizes` (N, 2) where the images' (H, W) differ."""
        draws, (height, width) = Draws(positions, self.seed), self._sides(len(positions), sizes)
        zero = np.zeros(len(positions), np.int64)
        boxes = self._resized_crop.draw(draws, height, width) if self._resized_crop else None
        y, x = (zero, zero) if self._resized_crop else self._offsets(positions, height, width)
        numbers = [operation.draw(draws) for operation in self._operations]
        if self._erasing:
            numbers.append(self._erasing.draw(draws))
        mirror, vertical = self._draw_mirrors(draws)
        is_drawn = self._draws_crops or self._resized_crop or sizes is not None
        window = None if is_drawn else (int(y[0]), int(x[0]))
        return Drawn(y, x, mirror, vertical, boxes, numbers, window, self._axes)

    def windows(self, positions: Indices, windows: Windows, sizes: NDArray[np.int64] | None = None) -> Iterator[Drawn]:
        """What `draw` gives in TEST, but for each of the windows of these records, and mirrored as they say."""
        height, width = self._sides(len(positions), sizes)
        numbers = [operation.draw(Draws(positions, self.seed)) for operation in self._operations]
        for y, x, mirrored in windows(positions, height - self._cropped[1], width - self._cropped[2]):
            turned = np.full(len(positions), mirrored)
            yield Drawn(y, x, turned, numbers=numbers, axes=(-1,) if mirrored else ())

    @property
    def _draws_crops(self) -> bool:
        return bool(self._random and self._param.crop_size and not self._param.center_crop)

    @property
    def _axes(self) -> tuple[int, ...]:
        """The axes along which images may be turned."""
        param = self._param
        is_mirrored = self._random if param.mirror_or_rotate else param.mirror
        return (-1,) * is_mirrored + (-2,) * (self._random and param.mirror_vertical)

    def key(self, drawn: Drawn) -> object | None:
        """All that the operations of Caffe's transform on a device depend on besides their tensors; None of another
        transform, where more may."""
        return (drawn.window, drawn.axes) if self._only_caffe else None

    def _sides(self, count: int, sizes: NDArray[np.int64] | None) -> tuple[Indices, Indices]:
        """Height and width (N,) of some images before the crop."""
        if sizes is None or self._resize:
            height, width = (np.full(count, side, np.int64) for side in self._uncropped[1:])
            return height, width
        height, width = sizes.T + 2 * self._param.pad
        return height, width

    def _offsets(self, positions: Indices, height: Indices, width: Indices) -> tuple[Indices, Indices]:
        """Where images of a height and a width (N,) are cut."""
        below_cropped = height - self._cropped[1], width - self._cropped[2]
        if self._draws_crops:
            y, x = (words(positions, self.seed, draw) for draw in (_Y, _X))
            return below(y, below_cropped[0] + 1), below(x, below_cropped[1] + 1)
        return below_cropped[0] // 2, below_cropped[1] // 2

    def _draw_mirrors(self, draws: Draws) -> tuple[NDArray[np.bool_], NDArray[np.bool_] | None]:
        """Which images are mirrored, and which are turned upside down, both (N,)."""
        param = self._param
        mirror = np.zeros(len(draws.positions), np.bool_)
        if -1 in self._axes and param.mirror_or_rotate:
            mirror = mirrored_instead(param, draws)
        elif -1 in self._axes:
            mirror = below(words(draws.positions, self.seed, _MIRROR), 2) == 1
        vertical = draws.chance(Draw.MIRROR_VERTICAL, 0.5) if -2 in self._axes else None
        return mirror, vertical

    def __call__(self, images: Tensor | Sequence[Tensor], drawn: Drawn, table: Tensor | None = None) -> Tensor:
        """Images (N, C, H, W), uint8 or float32, or a list of images of several sizes, to float32 (N, C, h, w). `table`
        is that of what is drawn, if it lies on the device of the images already."""
        if table is None:
            table = drawn.table().to(images[0].device)
        if not isinstance(images, Tensor):
            images = self._alike(images, drawn, table)
        elif not self._only_caffe:
            images = self._boxed(self._prepared(images), drawn, table)
        if not self._only_caffe:
            return self._augmented(images, drawn, table)
        if images.device.type == "cpu":
            # numpy computes on the calling thread alone; torch would take the other cores from the training.
            return torch.from_numpy(self._on_cpu(images.numpy(), drawn))
        return self._on_device(images, drawn, table)

    # --- Caffe's ------------------------------------------------------------------------------------------------------

    def _on_cpu(self, images: Pixels, drawn: Drawn) -> NDArray[np.float32]:
        height, width = self._cropped[1:]
        cropped = cut(images, drawn, height, width)
        out = self._buffers.take(cropped.shape, np.float32)
        mean = self._mean_on_cpu(drawn)
        count = max(1, _PART_BYTES // max(out[0].nbytes, 1))
        for rows in (slice(first, first + count) for first in range(0, len(out), count)):
            part = out[rows]
            part[...] = cropped[rows]  # and then in place: faster than to subtract from uint8
            if mean is not None:
                part -= mean[rows] if len(mean) > 1 else mean
            if self._param.scale != 1:
                part *= np.float32(self._param.scale)
        return out

    def _mean_on_cpu(self, drawn: Drawn) -> NDArray[np.float32] | None:
        """What is taken away from each image, or from all, (N or 1, C, h, w); None where nothing is."""
        if self._mean_image is not None:
            return cut_mean(self._mean_image, drawn, *self._cropped[1:])
        return None if self._mean_values is None else self._mean_values[None]

    def _on_device(self, images: Tensor, drawn: Drawn, table: Tensor) -> Tensor:
        out = cut_on_device(images, drawn, table, *self._cropped[1:]).to(torch.float32, copy=True)
        return self._scaled(out, drawn, table)

    def _scaled(self, out: Tensor, drawn: Drawn, table: Tensor) -> Tensor:
        """Take the mean away and scale, in place."""
        if self._mean_image is not None:
            mean = self._constant(self._mean_image, out.device).expand(len(out), *self._uncropped)
            out -= cut_on_device(mean, drawn, table, *self._cropped[1:])
        if self._mean_value is not None:
            out -= self._constant(self._mean_value, out.device)
        if self._param.std_value:
            return out.mul_(self._constant(self._factor, out.device))
        return out.mul_(self._param.scale) if self._param.scale != 1 else out

    def _constant(self, array: NDArray[np.float32], device: torch.device) -> Tensor:
        """One of this object's arrays on a device, moved there once: that waits for all that is at work there."""
        key = id(array), device
        if key not in self._constants:
            self._constants[key] = torch.from_numpy(array).to(device)
        return self._constants[key]

    # --- what Caffe has not -------------------------------------------------------------------------------------------

    def _alike(self, images: Sequence[Tensor], drawn: Drawn, table: Tensor) -> Tensor:
        """Images of several sizes as one batch: each prepared and cut, but not mirrored yet."""
        prepared = [self._prepared(image[None]) for image in images]
        if self._resized_crop:
            boxes, _ = drawn.of_table(table)
            return torch.cat([self._resized_crop(image, boxes[i : i + 1]) for i, image in enumerate(prepared)])
        height, width = self._cropped[1:]
        places = zip(prepared, drawn.y, drawn.x, strict=True)
        return torch.cat([image[:, :, y : y + height, x : x + width] for image, y, x in places])

    def _prepared(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) as they are before the crop."""
        if self._resize:
            images = self._resize(images)
        return padded(images, self._param.pad, self._fill) if self._param.pad else images

    def _boxed(self, images: Tensor, drawn: Drawn, table: Tensor) -> Tensor:
        """Prepared images (N, C, H, W), of each the box that is drawn for it, where boxes are."""
        return self._resized_crop(images, drawn.of_table(table)[0]) if self._resized_crop else images

    def _augmented(self, images: Tensor, drawn: Drawn, table: Tensor) -> Tensor:
        """Prepared images (N, C, H, W), which are not overwritten, to what the net sees."""
        if images.dtype == torch.float32:
            images = images.clone()
        height, width = self._cropped[1:]
        if images.device.type == "cpu":
            images = torch.from_numpy(cut(images.numpy(), drawn, height, width)).to(torch.float32)
        else:
            images = cut_on_device(images, drawn, table, height, width).to(torch.float32)
        _, parts = drawn.of_table(table)
        for operation, numbers in zip(self._operations, parts, strict=False):
            images = operation(images, numbers)
        images = self._scaled(standardized(images) if self._param.standardize else images, drawn, table)
        return self._erasing(images, parts[-1]) if self._erasing else images


def standardized(images: Tensor) -> Tensor:
    """Images (N, C, H, W), overwritten: each with its own mean 0 and deviation 1. The deviation counts as 1 / sqrt(CHW)
    at least, so that an image of one colour becomes 0: TensorFlow's per_image_standardization."""
    images -= images.mean((1, 2, 3), keepdim=True)
    norm = torch.linalg.vector_norm(images, dim=(1, 2, 3), keepdim=True)
    return images.mul_(images[0].numel() ** 0.5 / norm.clamp(min=1))
