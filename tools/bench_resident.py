"""A data layer whose batch stays, so that nothing but training is measured."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from bench_nets import CLASSES
from torch import Tensor

from netspec.layers.base import Shape
from netspec.layers.sources import Contents, Pending, SourceContext, source
from netspec.schema.netspec_pb2 import LayerParameter

RESIDENT = "data@TRAIN.type=Resident"
"""What puts it in the place of a net's data layer."""

SIDE = 64
"""Pixels of an image that is not cropped."""


@source("Resident")
class Resident:
    """A data layer that hands out one batch of noise for ever; `netspec.layers.sources.Source` has the interface."""

    def __init__(self, param: LayerParameter, context: SourceContext) -> None:
        size, transform = param.data_param.batch_size, param.transform_param
        side = max(transform.output_size, default=transform.crop_size or SIDE)
        self.shapes: list[Shape] = [(size, 3, side, side), (size,)]
        self.epoch_size, self.position, self.wait_seconds = size, 0, 0.0
        random = torch.Generator().manual_seed(context.seed)
        images = torch.randn(self.shapes[0], generator=random).contiguous(memory_format=torch.channels_last)
        labels = torch.randint(CLASSES, (size,), generator=random).float()
        self._batch = images.to(context.device), labels.to(context.device)

    def prepare(self) -> None:
        """The batch is there."""

    @property
    def contents(self) -> Contents:
        """Nothing that lies in files."""
        return Contents()

    def next(self) -> tuple[Tensor, ...]:
        return self._batch

    def pending(self) -> Pending:
        return Pending(self._batch)

    def once(self) -> Iterator[tuple[Tensor, ...]]:
        yield self._batch

    def reseed(self, seed: int) -> None:
        """The batch stays."""

    def keys(self) -> list[str]:
        return [f"{index:08d}" for index in range(self.epoch_size)]

    def check_labels(self, classes: int, ignore: int | None, layer: str, shares: bool = False) -> None:
        """All are in range."""

    def close(self) -> None:
        """Nothing runs."""
