"""Batches of images and labels, transformed as a whole: what Data, ImageData and MemoryData hand out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from netspec.data.batches import Batches, Tops
from netspec.data.datum import Pixels
from netspec.data.labels import LabelRule, Labels
from netspec.data.mean import Mean, read_mean
from netspec.data.order import Indices, Order
from netspec.data.transform import Crops, Transform
from netspec.errors import DataError
from netspec.layers.sources import SourceContext
from netspec.schema.netspec_pb2 import DataParameter, ImageDataParameter, LayerParameter


class ImageSet(Protocol):
    """Images and labels by index; `shape` is the first image's (C, H, W)."""

    shape: tuple[int, ...]

    def __len__(self) -> int: ...

    def fetch(self, indices: Indices) -> tuple[Pixels | list[Pixels], Labels]:
        """The images (N, C, H, W) of some records, a list where their sizes differ, and their labels."""

    def where(self, index: int) -> str:
        """How messages name a record."""

    def check_labels(self, rule: LabelRule) -> None:
        """Hold the labels against a rule, at once or as they are read."""


@dataclass(frozen=True)
class Batch:
    """Images as they are stored, in a list where their sizes differ, what is drawn for them, and labels (N,)."""

    images: Tensor | list[Tensor]
    crops: Crops
    labels: Tensor


class ImageBatches(Batches[Batch]):
    """Batches of `size` images and their labels, in an order. Images move to the device as they are stored and are
    transformed there; on the CPU the background thread does both."""

    def __init__(
        self, images: ImageSet, transform: Transform, order: Order, size: int, seed: int, device: torch.device
    ) -> None:
        super().__init__([(size, *transform.output_shape), (size,)], len(images), seed, device)
        self._images, self._transform, self._order = images, transform, order
        self.reseed(seed)

    def reseed(self, seed: int) -> None:
        super().reseed(seed)
        self._transform.seed = seed

    def choose(self, positions: Indices) -> Indices:
        return self._order(positions, self.seed)

    def check_labels(self, rule: LabelRule) -> None:
        self._images.check_labels(rule)

    def load(self, chosen: Indices, positions: Indices) -> Batch:
        images, labels = self._images.fetch(chosen)
        sizes = None
        if isinstance(images, list) or images.shape[1:] != self._images.shape:
            self._refuse_sizes(chosen, images)
            sizes = np.array([image.shape[1:] for image in images])
        tensors: Tensor | list[Tensor]
        if isinstance(images, list):
            tensors = [torch.from_numpy(np.array(image, order="C")) for image in images]
        else:
            tensors = torch.from_numpy(images)
        return Batch(tensors, self._transform.draw(positions, sizes), torch.from_numpy(labels.astype(np.float32)))

    def _refuse_sizes(self, chosen: Indices, images: Pixels | list[Pixels]) -> None:
        """Images of several sizes can only be cropped to one, and no mean image fits them all."""
        for index, image in zip(chosen.tolist(), images, strict=True):
            if image.shape != self._images.shape and not self._transform.takes(image.shape):
                raise DataError(
                    f"{self._images.where(index)}: the image is {_text(image.shape)}, the first record's "
                    f"{_text(self._images.shape)}; only a crop_size within both, without mean_file, makes them alike"
                    " (in an ImageData layer also new_height and new_width)"
                )

    def pin(self, loaded: Batch) -> Batch:
        if isinstance(loaded.images, list):
            return loaded
        return Batch(loaded.images.pin_memory(), loaded.crops, loaded.labels.pin_memory())

    def finish(self, loaded: Batch) -> Tops:
        images: Tensor | list[Tensor]
        if isinstance(loaded.images, list):
            images = [image.to(self.device) for image in loaded.images]
        else:
            images = loaded.images.to(self.device, non_blocking=True)
        return self._transform(images, loaded.crops), loaded.labels.to(self.device, non_blocking=True)


def stored_images(
    images: ImageSet,
    param: LayerParameter,
    settings: DataParameter | ImageDataParameter,
    context: SourceContext,
) -> ImageBatches:
    """The batches of a set that lies in files, as a layer's message wants them; `settings` is its part on the data."""
    mean = mean_of(param, context.find)
    transform = Transform(param.transform_param, context.phase, images.shape, context.seed, mean)
    order = Order(len(images), settings.shuffle, settings.rand_skip)
    return ImageBatches(images, transform, order, settings.batch_size, context.seed, context.device)


def mean_of(param: LayerParameter, find: Callable[[str], Path]) -> Mean | None:
    """The mean image that a layer's transform names, if any."""
    name = param.transform_param.mean_file
    return read_mean(find(name)) if name else None


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
