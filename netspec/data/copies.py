"""The transforms of a data layer: its own, and in TRAIN one more for each copy of the set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from netspec.data.crops import Drawn, Windows
from netspec.data.datum import shape_text
from netspec.data.mean import Mean
from netspec.data.order import Indices
from netspec.data.transform import Transform
from netspec.layers.base import LayerError, Shape
from netspec.schema.netspec_pb2 import TRAIN, TransformationParameter

_COPY = "transform_param", "copy"
_OF_ALL = ("force_color", "force_gray", "mixup_alpha", "cutmix_alpha", "classes", "copy")

Part = tuple[Transform, Indices, Drawn]
"""A transform, the places in the batch that it is for, and what is drawn for them."""


class Copies:
    """The transform of a message, and in TRAIN that of each of its copies.

    An epoch has `count` times as many records as the set: record r is image r % N through transform r // N. `means`
    are the mean images of the message and of its copies. Where `windows` are set, all of them are cut out of each
    image, one after the other, in place of one crop. Raises LayerError.
    """

    def __init__(
        self, param: TransformationParameter, phase: int, shape: Shape, seed: int = 0, means: Sequence[Mean | None] = ()
    ) -> None:
        means = means or [None] * (1 + len(param.copy))
        self._transforms = [Transform(param, phase, shape, seed, means[0])]
        self.output_shape = self._transforms[0].output_shape
        self.windows: Windows | None = None
        for copy, mean in zip(param.copy, means[1:], strict=True):
            transform = _copied(copy, phase, shape, seed, mean)
            if transform.output_shape != self.output_shape:
                raise LayerError(
                    f"images become {shape_text(self.output_shape)}, their copies {shape_text(transform.output_shape)}",
                    "transform_param",
                    "copy",
                )
            if phase == TRAIN:
                self._transforms.append(transform)

    @property
    def count(self) -> int:
        """How often each image comes in an epoch."""
        return len(self._transforms)

    def reseed(self, seed: int) -> None:
        """Draw from another seed."""
        for transform in self._transforms:
            transform.seed = seed

    def takes(self, shape: Shape) -> bool:
        """Whether an image of another size than the first can be made like it."""
        return all(transform.takes(shape) for transform in self._transforms)

    def draw(self, positions: Indices, which: Indices, sizes: NDArray[np.int64] | None = None) -> list[Part]:
        """The draws for the records at these positions, each through the transform `which` (N,) of it; `sizes` (N, 2)
        where the images' (H, W) differ. With windows there is a part for each, of all records."""
        parts: list[Part] = []
        if self.windows:
            everyone = np.arange(len(positions))
            first = self._transforms[0]
            return [(first, everyone, drawn) for drawn in first.windows(positions, self.windows, sizes)]
        for number in sorted(set(which.tolist())):
            places, transform = np.flatnonzero(which == number), self._transforms[number]
            drawn = transform.draw(positions[places], None if sizes is None else sizes[places])
            parts.append((transform, places, drawn))
        return parts


def numbers_of(parts: Sequence[Part]) -> list[Tensor]:
    """What the parts need on the device of the images: of each the table of what is drawn, and its places."""
    return [tensor for _, places, drawn in parts for tensor in (drawn.table(), torch.from_numpy(places))]


def transformed(images: Tensor | Sequence[Tensor], parts: Sequence[Part], numbers: Sequence[Tensor]) -> Tensor:
    """Images (N, C, H, W), or a list of them where their sizes differ, each through its transform: (N, C, h, w), or
    as many times as there are parts with its place. `numbers` are the `numbers_of` the parts, on their device."""
    tables, places = numbers[::2], numbers[1::2]
    if len(parts) == 1:
        transform, _, drawn = parts[0]
        return transform(images, drawn, tables[0])
    outputs = []
    for (transform, chosen, drawn), table, on_device in zip(parts, tables, places, strict=True):
        some = images[on_device] if isinstance(images, Tensor) else [images[place] for place in chosen]
        outputs.append(transform(some, drawn, table))
    return torch.cat(outputs)[torch.cat(list(places)).argsort(stable=True)]


def _copied(param: TransformationParameter, phase: int, shape: Shape, seed: int, mean: Mean | None) -> Transform:
    """The transform of a copy. LayerErrors point to it."""
    given = {field.name for field, _ in param.ListFields()}
    for name in _OF_ALL:
        if name in given:
            raise LayerError(f"{name} is for all images: write it in transform_param itself", *_COPY, name)
    try:
        return Transform(param, phase, shape, seed, mean)
    except LayerError as error:
        raise LayerError(error.reason, *_COPY, *error.field[1:]) from None
