"""Layers that take parts of a blob, or take it several times: BatchReindex, Crop, Filter, Tile."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from netspec.errors import DataError
from netspec.layers.axis import canonical_axis, check_axes
from netspec.layers.base import Layer, LayerError, Shape, layer
from netspec.schema.netspec_pb2 import LayerParameter
from netspec.tracing import is_traced


def check_indices(name: str, indices: Tensor, size: int) -> None:
    """DataError, naming the layer, where an index lies outside 0..size-1.

    On the CPU only: to look on another device would stop it, and that device refuses the index itself.
    """
    if indices.device.type != "cpu" or is_traced():
        return
    inside = (indices >= 0) & (indices < size)
    if not inside.all():
        raise DataError(f'layer "{name}": the index {indices[~inside][0].item():g} is not from 0 to {size - 1}')


@layer("BatchReindex", bottoms=2)
class BatchReindex(Layer):
    """y[i] = x[index[i]]: items of bottom 0, in the order of bottom 1, some left out, some repeated.

    Bottoms (N, ...) and (M,); top (M, ...). The gradients of a repeated item add up. Not in place. Raises DataError for
    an index outside 0..N-1 (CPU). PyTorch: the same as index_select on axis 0.
    """

    needs_top = False
    takes_16_bits = True

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        check_axes("BatchReindex", bottoms[0], 1)
        if len(bottoms[1]) != 1:
            raise LayerError(f"bottom 1 is {bottoms[1]}; indices need 1 axis", "bottom")
        if set(param.top) & set(param.bottom):
            raise LayerError("BatchReindex does not work in place: give its top another name", "top")

    def forward(self, x: Tensor, indices: Tensor) -> Tensor:
        check_indices(self.name, indices, x.shape[0])
        return x.index_select(0, indices.long())


@layer("Crop", bottoms=2)
class Crop(Layer):
    """Bottom 0 cut to the size of bottom 1 in `axis` (default 2) and all after it, from `offset` on.

    `offset` is 0, one for all these axes, or one for each. Bottom 1 gives its shape only and gets no gradient.
    Unlike in PyTorch's center_crop, without an offset the first values stay, not those in the middle.
    """

    takes_16_bits = True

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        crop, (below, reference) = param.crop_param, bottoms
        self.axis = canonical_axis(crop.axis, below, "crop_param", "axis")
        count = len(below) - self.axis
        if len(crop.offset) not in (0, 1, count):
            raise LayerError(f"offset is given {len(crop.offset)} times; {count} axes are cut", "crop_param", "offset")
        if len(reference) < len(below):
            raise LayerError(f"bottom 1 is {reference}; it needs the {len(below)} axes of bottom 0", "bottom")
        offsets = [int(offset) for offset in crop.offset] or [0]
        self.offsets = tuple(offsets * count if len(offsets) == 1 else offsets)
        for axis, offset in enumerate(self.offsets, self.axis):
            if offset + reference[axis] > below[axis]:
                reason = f"axis {axis} of size {below[axis]} has no {reference[axis]} values from offset {offset} on"
                raise LayerError(reason, "crop_param", "offset")

    def forward(self, x: Tensor, reference: Tensor) -> Tensor:
        for axis, offset in enumerate(self.offsets, self.axis):
            x = x.narrow(axis, offset, reference.shape[axis])
        return x


@layer("Filter", bottoms=(2, None), tops=(1, None))
class Filter(Layer):
    """Of every bottom but the last, a top with the items whose value in the last bottom, the selector, is not 0.

    Bottoms (N, ...), selector (N,) or (N, 1, ...); tops (M, ...), M the number of items selected. The items left out
    get gradient 0. M depends on the data, so a GPU is waited for; before the first pass the tops count as (N, ...).
    Where nothing is selected M is 0. PyTorch: the same as indexing with selector != 0.
    """

    needs_top = False
    takes_16_bits = True

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        *filtered, selector = bottoms
        if len(param.top) != len(filtered):
            wanted = f"{len(filtered)} top{'s' * (len(filtered) != 1)}"
            raise LayerError(f"{len(bottoms)} bottoms need {wanted}, not {len(param.top)}", "top")
        if not selector or any(size != 1 for size in selector[1:]):
            raise LayerError(f"the selector is {selector}; every axis but its first must have size 1", "bottom")
        for i, shape in enumerate(filtered):
            if shape[:1] != selector[:1]:
                raise LayerError(f"bottom {i} is {shape}, but the selector has {selector[0]} items", "bottom")

    def forward(self, *bottoms: Tensor) -> Tensor | tuple[Tensor, ...]:
        *filtered, selector = bottoms
        if not selector.is_meta:
            selected = selector.flatten().nonzero().squeeze(1)
            filtered = [x.index_select(0, selected) for x in filtered]
        return tuple(filtered) if len(filtered) > 1 else filtered[0]


@layer("Tile")
class Tile(Layer):
    """The bottom `tiles` times one after the other along `axis` (default 1); the gradients of the copies add up.

    PyTorch: the same as torch.tile on one axis.
    """

    needs_top = False
    takes_16_bits = True

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        axis, tiles = canonical_axis(param.tile_param.axis, bottoms[0], "tile_param", "axis"), param.tile_param.tiles
        if tiles < 1:
            raise LayerError("tiles must be given and at least 1", "tile_param", "tiles")
        self.repeats = tuple(tiles if i == axis else 1 for i in range(len(bottoms[0])))

    def forward(self, x: Tensor) -> Tensor:
        return x.repeat(self.repeats)
