"""Batches of records: which come next, what is drawn for them, and how they reach the device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np
import torch
from torch import Tensor

from netspec.data.datum import Pixels
from netspec.data.order import Indices, below, indices, words
from netspec.data.prefetch import Prefetch
from netspec.data.records import Records
from netspec.data.transform import Crops, Transform
from netspec.errors import DataError
from netspec.schema.netspec_pb2 import DataParameter

_SKIP = 4  # the draw of rand_skip, beside those of the transform

Tops = Iterator[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Batch:
    """Images as they are stored, in a list where their sizes differ, what is drawn for them, and labels (N,)."""

    images: Tensor | list[Tensor]
    crops: Crops
    labels: Tensor


class Batches:
    """The batches of a set; each depends only on the seed and on the records handed out before it."""

    def __init__(
        self, records: Records, transform: Transform, param: DataParameter, seed: int, device: torch.device
    ) -> None:
        self.size: int = param.batch_size
        self.shape = (self.size, *transform.output_shape)
        self._records = records
        self._transform = transform
        self._shuffle = param.shuffle
        self._seed = seed
        self._device = device
        self._depth = param.prefetch
        draw = words(np.zeros(1, np.int64), seed, _SKIP)
        self._skip = int(below(draw, param.rand_skip)[0])

    def after(self, position: int) -> Iterator[Batch]:
        """Whole batches without end, after `position` records."""
        for first in count(position, self.size):
            chosen = indices(first + self._skip, self.size, len(self._records), self._seed, self._shuffle)
            yield self._load(chosen, np.arange(first, first + self.size))

    def once(self) -> Iterator[Batch]:
        """Every record once, in the order of the set; the last batch may be short."""
        for first in range(0, len(self._records), self.size):
            chosen = np.arange(first, min(first + self.size, len(self._records)))
            yield self._load(chosen, chosen)

    def start(self, batches: Iterator[Batch]) -> tuple[Prefetch[Batch] | Prefetch[tuple[Tensor, Tensor]], Tops]:
        """Run batches in the background: what to close in the end, and the (data, label) on the device."""
        if self._device.type == "cpu":
            done = Prefetch(map(self._finish, batches), self._depth)
            return done, done
        loaded = Prefetch(map(self._pin, batches), self._depth)
        return loaded, map(self._finish, loaded)

    def _load(self, chosen: Indices, positions: Indices) -> Batch:
        images, labels = self._records.fetch(chosen)
        sizes = None
        if isinstance(images, list) or images.shape[1:] != self._records.shape:
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
            if image.shape != self._records.shape and not self._transform.takes(image.shape):
                raise DataError(
                    f"{self._records.store.where(index)}: the image is {_text(image.shape)}, the first record's "
                    f"{_text(self._records.shape)}; only a crop_size within both, without mean_file, makes them alike"
                )

    def _pin(self, batch: Batch) -> Batch:
        """Move a batch to memory that a GPU copies from without waiting."""
        if self._device.type != "cuda" or isinstance(batch.images, list):
            return batch
        return Batch(batch.images.pin_memory(), batch.crops, batch.labels.pin_memory())

    def _finish(self, batch: Batch) -> tuple[Tensor, Tensor]:
        images: Tensor | list[Tensor]
        if isinstance(batch.images, list):
            images = [image.to(self._device) for image in batch.images]
        else:
            images = batch.images.to(self._device, non_blocking=True)
        return self._transform(images, batch.crops), batch.labels.to(self._device, non_blocking=True)


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
