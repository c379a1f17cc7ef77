"""The MemoryData layer: images and labels that the program hands over."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from netspec.data.batches import Tops
from netspec.data.copies import Copies
from netspec.data.datum import Pixels, shape_text
from netspec.data.feed import Feed
from netspec.data.images import ImageBatches, means_of
from netspec.data.labels import LabelRule, Labels
from netspec.data.mix import mixing_of
from netspec.data.order import Indices, Order
from netspec.errors import DataError
from netspec.layers.base import LARGEST_COUNT, LayerError, Shape
from netspec.layers.sources import Pending, SourceContext, source
from netspec.schema.netspec_pb2 import LayerParameter

_FIELD = "memory_data_param"


class Arrays:
    """Images (N, C, H, W) and labels (N,) in memory, as a set of images."""

    label_shape: tuple[int, ...] = ()

    def __init__(self, images: Pixels, labels: Labels, layer: str) -> None:
        self.shape: tuple[int, ...] = images.shape[1:]
        self._images, self._labels, self._layer = images, labels, layer

    def __len__(self) -> int:
        return len(self._images)

    def fetch(self, indices: Indices) -> tuple[Pixels | list[Pixels], Labels]:
        """Some images and their labels."""
        return self._images[indices], self._labels[indices]

    def where(self, index: int) -> str:
        """How messages name an image."""
        return f'image {index} given to layer "{self._layer}"'

    def keys(self) -> list[str]:
        """The numbers of the images."""
        return [f"{index:08d}" for index in range(len(self))]

    def check_labels(self, rule: LabelRule) -> None:
        """DataError where a label is outside."""
        rule.hold(self._labels, self.where)


@source("MemoryData")
class MemoryData(Feed):
    """(pixel - mean) * scale of the images that the program gives with `set`, or `Net.set_input_arrays`.

    Tops: images (batch_size, channels, height, width) and labels (batch_size), all four sizes stated. The images
    may be of another size, which transform_param makes height and width. Unlike in pycaffe, where
    set_input_arrays passes the transform by with a warning, transform_param counts for arrays too.
    """

    def __init__(self, param: LayerParameter, context: SourceContext) -> None:
        memory = param.memory_data_param
        for field in ("batch_size", "channels", "height", "width"):
            if not getattr(memory, field):
                raise LayerError(f"{field} is missing or 0", _FIELD, field)
        self._param, self._phase, self._means = param, context.phase, means_of(param, context.find)
        self._output_shape: Shape = (memory.channels, memory.height, memory.width)
        self._rules: list[LabelRule] = []
        stored = self._stored()
        if math.prod(stored) > LARGEST_COUNT:
            raise LayerError(f"an image of {shape_text(stored)} is more than any memory holds", _FIELD)
        nothing = Arrays(np.empty((0, *stored), np.float32), np.empty(0), param.name)
        batches = self._batches_of(nothing, context.seed, context.device)
        super().__init__(batches, param.data_param.prefetch, context)

    def _stored(self) -> Shape:
        """A shape of images that become those of the message."""
        if self._means[0] is not None:
            return self._means[0].shape
        transform, (channels, *sides) = self._param.transform_param, self._output_shape
        if transform.crop_size or transform.output_size or transform.resize:
            return (channels, *(max(side, transform.crop_size) for side in sides))
        return (channels, *(max(side - 2 * transform.pad, 1) for side in sides))

    def set(self, data: Any, labels: Any) -> None:
        """Hand out these images (N, C, H, W) and labels (N values) from now on, in order and again and again: arrays
        or tensors, N a multiple of batch_size. They are copied. ValueError where they do not fit, DataError where a
        label does not."""
        images, values = _array(data), np.asarray(_array(labels), np.float64).ravel()
        size = self._batches.size
        if images.ndim != 4 or not len(images) or len(images) % size:
            raise ValueError(f"data must be (N, C, H, W), N a multiple of batch_size {size}, not {images.shape}")
        if len(values) != len(images):
            raise ValueError(f"{len(values)} labels for {len(images)} images")
        arrays = Arrays(images, values, self._param.name)
        for rule in self._rules:
            arrays.check_labels(rule)
        batches = self._batches_of(arrays, self._batches.seed, self._batches.device, self._position)
        self.close()
        self._batches = batches
        self.epoch_size = batches.length

    def pending(self) -> Pending:
        self._refuse_nothing()
        return super().pending()

    def once(self) -> Iterator[Tops]:
        self._refuse_nothing()
        return super().once()

    def check_labels(self, classes: int, ignore: int | None, layer: str, shares: bool = False) -> None:
        """Hold the labels against the classes: those given, and all that will be."""
        super().check_labels(classes, ignore, layer, shares)
        self._rules.append(LabelRule(classes, ignore, layer, shares))

    def _batches_of(self, arrays: Arrays, seed: int, device: torch.device, start: int = 0) -> ImageBatches:
        """The batches of some images, of which the first comes at the position `start`."""
        transform = Copies(self._param.transform_param, self._phase, arrays.shape, seed, self._means)
        if transform.output_shape != self._output_shape:
            raise LayerError(f"images {arrays.shape} become {transform.output_shape}, not {self._output_shape}", _FIELD)
        order = Order(len(arrays) * transform.count, start=start)
        size = self._param.memory_data_param.batch_size
        mixing = mixing_of(self._param, self._phase, transform.output_shape)
        return ImageBatches(arrays, transform, order, size, seed, device, mixing)

    def _refuse_nothing(self) -> None:
        if not self._batches.length:
            raise DataError(
                f'layer "{self._param.name}" has no images yet: net.set_input_arrays(data, labels) hands them over'
            )


def _array(values: Any) -> Pixels:
    """A copy of an array or a tensor on the CPU: uint8 as it is, all else as float32."""
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    return np.array(array, np.uint8 if array.dtype == np.uint8 else np.float32, order="C")
