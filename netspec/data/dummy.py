"""The DummyData layer: blobs from fillers, for trying out a net without data."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from netspec.data.batches import TensorBatches, Tops
from netspec.data.feed import Feed
from netspec.data.labels import LabelRule
from netspec.data.order import Indices, words
from netspec.fillers import FillerError, fill
from netspec.layers.base import LARGEST_COUNT, LayerError, Shape
from netspec.layers.sources import SourceContext, source
from netspec.schema.netspec_pb2 import DummyDataParameter, FillerParameter, LayerParameter

_FIELD = "dummy_data_param"
_FILL = 7  # which draw a filler's seed is


class DummyBatches(TensorBatches):
    """Tops of some shapes: constants, which are filled once, and numbers drawn anew for each batch. One batch counts
    as the whole set, since there is no end to it."""

    def __init__(self, shapes: list[Shape], fillers: list[FillerParameter], seed: int, device: torch.device) -> None:
        self._fillers = fillers
        self._constants: dict[int, Tensor] = {}
        self._rules: list[LabelRule] = []
        super().__init__(shapes, next(iter(shapes[0]), 1), seed, device)

    def choose(self, positions: Indices) -> Indices:
        return positions

    def load(self, chosen: Indices, positions: Indices) -> Tops:
        return tuple(self._top(index, positions) for index in range(len(self.shapes)))

    def _top(self, index: int, positions: Indices) -> Tensor:
        if index in self._constants:
            return self._constants[index]
        # On the CPU, so that a seed gives the same numbers on every device.
        top, random = torch.empty(self.shapes[index]), torch.Generator()
        random.manual_seed(int(words(positions[:1], self.seed, _FILL, index)[0] >> np.uint64(1)))
        fill(top, self._fillers[index], random)
        if index == 1:
            for rule in self._rules:
                rule.hold(np.atleast_1d(top.numpy()), lambda row: f"DummyData: row {row} of the second top")
        if self._fillers[index].type == "constant":
            top = self._constants[index] = top.to(self.device)
        return top

    def check_labels(self, rule: LabelRule) -> None:
        """Labels are the second of two tops; they are checked as they are drawn."""
        if len(self.shapes) == 2:
            self._rules.append(rule)


@source("DummyData")
class DummyData(Feed):
    """Tops filled by `data_filler`: one for each top, one for all, or none, which means 0.

    Their shapes are `shape` or the old `num`, `channels`, `height`, `width`, one for each top or one for all. Constants
    are filled once, all else is drawn anew for each batch, from the seed and the batch's position alone. A pass over
    every record is one batch.
    """

    def __init__(self, param: LayerParameter, context: SourceContext) -> None:
        dummy, tops = param.dummy_data_param, len(param.top)
        if not tops:
            raise LayerError("a DummyData layer needs a top", "top")
        shapes = _shapes(dummy, tops)
        fillers = list(dummy.data_filler) or [FillerParameter()]
        _check_count("data_filler", len(fillers), tops)
        fillers *= tops // len(fillers)
        for shape, filler in zip(shapes, fillers, strict=True):
            _refuse_unfillable(shape, filler)
        batches = DummyBatches(shapes, fillers, context.seed, context.device)
        super().__init__(batches, param.data_param.prefetch, context)


def _shapes(dummy: DummyDataParameter, tops: int) -> list[Shape]:
    """The shape of each top, in the new or the old form."""
    if not dummy.num and not dummy.shape:
        raise LayerError("shape is missing: one for each top, or one for all", _FIELD)
    old = ("num", "channels", "height", "width")
    if dummy.shape:
        if given := [field for field in old if getattr(dummy, field)]:
            raise LayerError(f"give shape or {', '.join(old)}, not both", _FIELD, given[0])
        _check_count("shape", len(dummy.shape), tops)
        shapes = [tuple(shape.dim) for shape in dummy.shape]
        return shapes * (tops // len(shapes))
    sizes = []
    for field in old:
        given_sizes = list(getattr(dummy, field))
        _check_count(field, len(given_sizes), tops)
        sizes.append(given_sizes * (tops // len(given_sizes)))
    return list(zip(*sizes, strict=True))


def _check_count(field: str, count: int, tops: int) -> None:
    if count not in (1, tops):
        reason = f"{count} {field} for {tops} top{'s' * (tops != 1)}; give one for each, or one for all"
        raise LayerError(reason, _FIELD, *([field] if count else []))


def _refuse_unfillable(shape: Shape, filler: FillerParameter) -> None:
    """Refuse what cannot be filled, before any memory is taken."""
    if any(size < 0 for size in shape) or 0 in shape[:1]:
        raise LayerError(f"the shape {shape} has a negative size or no rows", _FIELD, "shape")
    if math.prod(shape) > LARGEST_COUNT:
        raise LayerError(f"the shape {shape} is more than any memory holds", _FIELD, "shape")
    try:
        fill(torch.empty(shape, device="meta"), filler)
    except FillerError as error:
        raise LayerError(error.reason, _FIELD, "data_filler", *error.field) from None
