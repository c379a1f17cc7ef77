"""Batches of images and labels, transformed as a whole: what Data, ImageData and MemoryData hand out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from netspec.data.batches import Batches, Tops
from netspec.data.copies import Copies, Part, numbers_of, transformed
from netspec.data.crops import Windows
from netspec.data.datum import Pixels, shape_text
from netspec.data.labels import LabelRule, Labels
from netspec.data.mean import Mean, read_mean
from netspec.data.mix import Mix, Mixing, mixing_of
from netspec.data.order import Indices, Order
from netspec.data.records import Records
from netspec.data.residence import Resident, resident
from netspec.data.side_stream import Moved, SideStream
from netspec.errors import DataError
from netspec.layers.base import LayerError
from netspec.layers.sources import Pending, SourceContext
from netspec.schema.netspec_pb2 import DataParameter, ImageDataParameter, LayerParameter, TransformationParameter

_LARGEST_AT_ONCE = 256 << 10
"""In bytes of what the net sees."""


class ImageSet(Protocol):
    """Images and labels by index; `shape` is the first image's (C, H, W), `label_shape` each label's: () or (K,)."""

    shape: tuple[int, ...]
    label_shape: tuple[int, ...]

    def __len__(self) -> int: ...

    def fetch(self, indices: Indices) -> tuple[Pixels | list[Pixels], Labels]:
        """The images (N, C, H, W) of some records, a list where their sizes differ, and their labels."""

    def where(self, index: int) -> str:
        """How messages name a record."""

    def keys(self) -> list[str]:
        """What names each record, in order."""

    def check_labels(self, rule: LabelRule) -> None:
        """Hold the labels against a rule, at once or as they are read."""


@dataclass(frozen=True)
class Batch:
    """Images as they are stored, in a list where their sizes differ, what is drawn for them, and labels (N,), or their
    shares (N, classes) where the images will be mixed; and all of it on its way to a GPU."""

    images: Tensor | list[Tensor]
    drawn: list[Part]
    labels: Tensor
    mix: Mix | None = None
    moved: Moved | None = None

    def tensors(self) -> list[Tensor]:
        """All that is needed on the device: the labels, what is drawn, and the images."""
        images = self.images if isinstance(self.images, list) else [self.images]
        return [self.labels, *numbers_of(self.drawn), *([self.mix.table()] if self.mix else []), *images]


class ImageBatches(Batches[Batch]):
    """Batches of `size` images and their labels, in an order. Images move to the device as they are stored and are
    transformed there, to a GPU beside what it computes; on the CPU the background thread does both."""

    def __init__(
        self,
        images: ImageSet,
        transform: Copies,
        order: Order,
        size: int,
        seed: int,
        device: torch.device,
        mixing: Mixing | None = None,
        resident: Resident | None = None,
    ) -> None:
        label = (mixing.classes,) if mixing else images.label_shape
        super().__init__([(size, *transform.output_shape), (size, *label)], len(images) * transform.count, seed, device)
        self._images, self._transform, self._order, self._mixing = images, transform, order, mixing
        self._resident = resident
        self.reseed(seed)

    def prepare(self) -> None:
        """Decode the set, if it is kept decoded."""
        if isinstance(self._images, Records):
            self._images.kept()

    def reseed(self, seed: int) -> None:
        super().reseed(seed)
        self._transform.reseed(seed)

    def cut(self, windows: Windows) -> None:
        self._transform.windows = windows

    def keys(self) -> list[str]:
        return self._images.keys()

    def at_once(self) -> int:
        """Small batches of decoded images as one: for one of a few kilobytes Python takes longer than the work, and
        keeps the training from going on meanwhile."""
        if self._mixing or not isinstance(self._images, Records) or self._images.kept() is None:
            return 1
        return max(1, _LARGEST_AT_ONCE // (4 * math.prod(self.shapes[0])))

    def choose(self, positions: Indices) -> Indices:
        return self._order(positions, self.seed)

    def check_labels(self, rule: LabelRule) -> None:
        self._images.check_labels(rule)

    def load(self, chosen: Indices, positions: Indices) -> Batch:
        copies, chosen = np.divmod(chosen, len(self._images))
        images, labels = self._fetch(chosen)
        sizes = None
        if isinstance(images, list) or images.shape[1:] not in (self._images.shape, ()):
            self._refuse_sizes(chosen, images)
            sizes = np.array([image.shape[1:] for image in images])
        tensors: Tensor | list[Tensor]
        if isinstance(images, list):
            tensors = [torch.from_numpy(np.array(image, order="C")) for image in images]
        else:
            tensors = torch.from_numpy(images)
        mix = self._mixing.draw(positions, self.seed) if self._mixing else None
        if self._mixing and mix:
            labels = self._mixing.shares(labels, mix, lambda place: self._images.where(int(chosen[place])))
        drawn = self._transform.draw(positions, copies, sizes)
        return Batch(tensors, drawn, torch.from_numpy(labels.astype(np.float32)), mix)

    def _fetch(self, chosen: Indices) -> tuple[Pixels | list[Pixels], Labels]:
        """Images, or only which ones (N,) where they lie on the device already, and their labels."""
        if self._resident is not None and (labels := self._resident.labels(chosen)) is not None:
            return chosen, labels
        return self._images.fetch(chosen)

    def _refuse_sizes(self, chosen: Indices, images: Pixels | list[Pixels]) -> None:
        """Images of several sizes are resized or cropped to one; a mean image fits them once they are resized."""
        for index, image in zip(chosen.tolist(), images, strict=True):
            if image.shape != self._images.shape and not self._transform.takes(image.shape):
                raise DataError(
                    f"{self._images.where(index)}: the image is {shape_text(image.shape)}, the first record's "
                    f"{shape_text(self._images.shape)}; only resize, or a crop_size within both without mean_file, "
                    "makes them alike (in an ImageData layer also new_height and new_width)"
                )

    @cached_property
    def _side_stream(self) -> SideStream:
        return SideStream(self.device)

    def pin(self, loaded: Batch) -> Batch:
        """Begin to move a batch to a GPU."""
        return replace(loaded, moved=self._side_stream.move(loaded.tensors()))

    def finish(self, loaded: Batch) -> Tops:
        return self._made(loaded, self._on_device(loaded))

    def pending(self, loaded: Batch) -> Pending:
        """Caffe's transform of images of one size is left to be done; what more there is may depend on other things
        than tensors."""
        parts = loaded.drawn
        key = parts[0][0].key(parts[0][2]) if len(parts) == 1 and not loaded.mix else None
        if key is None or isinstance(loaded.images, list) or self._transform.windows:
            return super().pending(loaded)
        return Pending(self._on_device(loaded), partial(self._made, loaded), key)

    def _on_device(self, loaded: Batch) -> list[Tensor]:
        if loaded.moved:
            return loaded.moved.tensors()
        return [each.to(self.device) for each in loaded.tensors()]

    def _made(self, loaded: Batch, on_device: Sequence[Tensor]) -> Tops:
        """The tops of a batch whose tensors are on the device."""
        labels, *tensors = on_device
        count = 2 * len(loaded.drawn)
        numbers, images = tensors[:count], tensors[count:]
        table = images.pop(0) if loaded.mix else None
        out = transformed(images if isinstance(loaded.images, list) else self._of_set(images[0]), loaded.drawn, numbers)
        if self._mixing and loaded.mix:
            out = self._mixing(out, loaded.mix, table)
        return out.reshape(len(labels), -1, *out.shape[1:]) if self._transform.windows else out, labels

    def _of_set(self, images: Tensor) -> Tensor:
        """Images, or those (N, C, H, W) on the device that numbers (N,) name."""
        return self._resident.images(images) if self._resident is not None and images.dim() == 1 else images


def stored_images(
    images: Records,
    param: LayerParameter,
    settings: DataParameter | ImageDataParameter,
    context: SourceContext,
) -> ImageBatches:
    """The batches of a set that lies in files, as a layer's message wants them; `settings` is its part on the data."""
    means = means_of(param, context.find)
    transform = Copies(param.transform_param, context.phase, images.shape, context.seed, means)
    order = Order(len(images) * transform.count, settings.shuffle, settings.rand_skip)
    mixing = mixing_of(param, context.phase, transform.output_shape)
    if mixing and images.label_shape:
        reason = f"mixing needs one label an image; here each has {images.label_shape[0]}"
        raise LayerError(reason, "transform_param", "classes")
    field = "data_param" if isinstance(settings, DataParameter) else "image_data_param"
    whole = resident(images, settings, context.device, field, context.residence)
    return ImageBatches(images, transform, order, settings.batch_size, context.seed, context.device, mixing, whole)


def means_of(param: LayerParameter, find: Callable[[str], Path]) -> list[Mean | None]:
    """The mean images that a layer's transform and its copies name, where they do."""
    return [mean_of(transform, find) for transform in (param.transform_param, *param.transform_param.copy)]


def mean_of(transform: TransformationParameter, find: Callable[[str], Path]) -> Mean | None:
    """The mean image that a transform names, if any."""
    return read_mean(find(transform.mean_file)) if transform.mean_file else None
