"""Layers that only move values: Concat, Slice, Split, Flatten, Reshape, Permute, ShuffleChannel, Silence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from netspec.layers.axis import canonical_axis, check_axes, renamed_axis
from netspec.layers.base import Layer, LayerError, Shape, layer
from netspec.schema.netspec_pb2 import LayerParameter


@layer("Concat", bottoms=(1, None))
class Concat(Layer):
    """The bottoms one after the other along `axis` (once called `concat_dim`). PyTorch: torch.cat."""

    takes_16_bits = True

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        self.axis = renamed_axis(param.concat_param, "concat_dim", bottoms[0], "concat_param")
        first = bottoms[0]
        for i, shape in enumerate(bottoms):
            if len(shape) != len(first) or any(
                a != b for axis, (a, b) in enumerate(zip(shape, first, strict=True)) if axis != self.axis
            ):
                raise LayerError(
                    f"bottom {i} is {shape}, but bottom 0 {first}: only axis {self.axis} may differ", "bottom"
                )

    def forward(self, *bottoms: Tensor) -> Tensor:
        return torch.cat(bottoms, self.axis)


@layer("Slice", tops=(1, None))
class Slice(Layer):
    """The bottom cut along `axis` (once called `slice_dim`) before each `slice_point`, or into equal parts.

    Unlike in PyTorch's torch.split the points are places, not sizes (as in torch.tensor_split), and parts that would
    not be equal are refused.
    """

    takes_16_bits = True

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        path = "slice_param"
        self.axis = renamed_axis(param.slice_param, "slice_dim", bottoms[0], path)
        self.points = tuple(int(point) for point in param.slice_param.slice_point)
        self.parts, size = len(param.top), bottoms[0][self.axis]
        if not self.points and size % self.parts:
            raise LayerError(f"axis {self.axis} of size {size} cannot be cut into {self.parts} equal tops", path)
        if self.points and len(self.points) != self.parts - 1:
            raise LayerError(f"{len(self.points)} slice points for {self.parts} tops", path, "slice_point")
        borders = (0, *self.points, size)
        if any(a >= b for a, b in pairwise(borders)):
            raise LayerError(
                f"slice points {list(self.points)} must rise between 0 and the size {size}", path, "slice_point"
            )

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        tops = x.tensor_split(self.points or self.parts, self.axis)
        return tuple(tops) if self.parts > 1 else x


@layer("Split", tops=(1, None))
class Split(Layer):
    """Every top is the bottom. Caffe puts it in where a blob is read twice; neither PyTorch nor a text needs it."""

    allows_in_place = False
    takes_16_bits = True

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        self.count = len(param.top)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        return (x,) * self.count if self.count > 1 else x


@layer("Flatten")
class Flatten(Layer):
    """Axes `axis` to `end_axis`, both included, as one. PyTorch: the same as torch.flatten."""

    allows_in_place = False
    takes_16_bits = True

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        flatten = param.flatten_param
        self.axis = canonical_axis(flatten.axis, bottoms[0], "flatten_param", "axis")
        self.end_axis = canonical_axis(flatten.end_axis, bottoms[0], "flatten_param", "end_axis")
        if self.end_axis < self.axis:
            raise LayerError(f"end_axis {self.end_axis} lies before axis {self.axis}", "flatten_param", "end_axis")

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(self.axis, self.end_axis)


@layer("Reshape")
class Reshape(Layer):
    """`num_axes` axes from `axis` on, in new sizes: 0 keeps the size at the same place, one -1 takes what remains.

    `num_axes` -1 means all that follow; 0 inserts axes. A negative `axis` counts from behind the last: -1 is the end.
    Unlike in PyTorch's reshape, 0 is no size, and axes before `axis` stay.
    """

    allows_in_place = False
    takes_16_bits = True

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        reshape, rank = param.reshape_param, len(bottoms[0])
        self.dims = tuple(int(dim) for dim in reshape.shape.dim)
        self.start = reshape.axis if reshape.axis >= 0 else reshape.axis + rank + 1
        if not 0 <= self.start <= rank:
            raise LayerError(f"axis {reshape.axis} does not exist: the bottom has {rank} axes", "reshape_param", "axis")
        self.following = rank - self.start - reshape.num_axes if reshape.num_axes != -1 else 0
        if reshape.num_axes < -1 or self.following < 0:
            raise LayerError(
                f"{reshape.num_axes} axes from axis {self.start} on: the bottom has {rank}", "reshape_param", "num_axes"
            )
        self._check(bottoms[0])

    def _check(self, bottom: Shape) -> None:
        field = ("reshape_param", "shape")
        if min(self.dims, default=0) < -1 or self.dims.count(-1) > 1:
            raise LayerError(f"sizes {list(self.dims)}: only one may be -1, and none less", *field)
        for i, dim in enumerate(self.dims):
            if dim == 0 and self.start + i >= len(bottom):
                raise LayerError(f"size {i} is 0, but the bottom has no axis {self.start + i} to copy", *field)
        shape = self._shape(bottom)
        known = math.prod(size for size in shape if size != -1)
        total = math.prod(bottom)
        if (total != known) if -1 not in shape else (known == 0 or total % known):
            raise LayerError(f"{total} values of bottom {bottom} do not fill {shape}", *field)

    def _shape(self, bottom: Sequence[int]) -> Shape:
        middle = (bottom[self.start + i] if dim == 0 else dim for i, dim in enumerate(self.dims))
        return (*bottom[: self.start], *middle, *bottom[len(bottom) - self.following :])

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(self._shape(x.shape))


@layer("Silence", bottoms=(1, None), tops=0)
class Silence(Layer):
    """Takes blobs that nobody reads, so that they are not outputs of the net. PyTorch has no such layer."""

    takes_16_bits = True

    def forward(self, *bottoms: Tensor) -> tuple[()]:
        return ()


@layer("Permute")
class Permute(Layer):
    """The axes in another order, of SSD's fork: axis i of the top is axis order[i] of the bottom.

    Axes that `order` does not name follow in their own order. PyTorch: the same as Tensor.permute.
    """

    takes_16_bits = True

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        order, axes = list(param.permute_param.order), len(bottoms[0])
        for i, axis in enumerate(order):
            if axis >= axes:
                raise LayerError(f"axis {axis} does not exist: the bottom has {axes} axes", "permute_param", "order")
            if axis in order[:i]:
                raise LayerError(f"axis {axis} is named twice", "permute_param", "order")
        self.order = (*order, *(axis for axis in range(axes) if axis not in order))

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(self.order)


@layer("ShuffleChannel")
class ShuffleChannel(Layer):
    """The channels as a (group, C / group) matrix, transposed, of ShuffleNet's fork (Zhang et al. 2017).

    PyTorch: the same as its ChannelShuffle.
    """

    takes_16_bits = True

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        check_axes("ShuffleChannel", bottoms[0], 2)
        self.group = int(param.shuffle_channel_param.group)
        if self.group < 1 or bottoms[0][1] % self.group:
            reason = f"{bottoms[0][1]} channels cannot be divided into {self.group} groups"
            raise LayerError(reason, "shuffle_channel_param", "group")

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() == 2:  # PyTorch wants something behind the channels
            return F.channel_shuffle(x.unsqueeze(2), self.group).squeeze(2)
        return F.channel_shuffle(x, self.group)
