"""Arithmetic between blobs: Eltwise, and Scale and Bias, which lay a small blob over a large one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from netspec.layers.axis import canonical_axis
from netspec.layers.base import Layer, LayerError, Shape, layer
from netspec.layers.normalization import LEAST_EPS
from netspec.schema.netspec_pb2 import BiasParameter, EltwiseParameter, FillerParameter, LayerParameter, ScaleParameter


@layer("Eltwise", bottoms=(2, None))
class Eltwise(Layer):
    """The product, the sum (each bottom times its `coeff`) or the maximum of bottoms of one shape.

    Of equal values MAX gives the gradient to one bottom, as Caffe does; PyTorch would share it out. `stable_prod_grad`
    changes nothing: the gradient of PROD is always the product of the other bottoms.
    """

    needs_top = False
    takes_16_bits = True

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        eltwise = param.eltwise_param
        for i, shape in enumerate(bottoms):
            if shape != bottoms[0]:
                raise LayerError(f"bottom {i} is {shape}, unlike bottom 0, which is {bottoms[0]}", "bottom")
        self.operation = int(eltwise.operation)
        self.coeff = tuple(eltwise.coeff)
        if self.coeff and self.operation == EltwiseParameter.PROD:
            raise LayerError("PROD takes no coeff", "eltwise_param", "coeff")
        if len(self.coeff) not in (0, len(bottoms)):
            raise LayerError(
                f"coeff is given {len(self.coeff)} times for {len(bottoms)} bottoms", "eltwise_param", "coeff"
            )

    def forward(self, *bottoms: Tensor) -> Tensor:
        if self.operation == EltwiseParameter.PROD:
            return reduce(torch.mul, bottoms)
        if self.operation == EltwiseParameter.MAX:
            return self._max(*bottoms)
        if not self.coeff:
            return reduce(torch.add, bottoms)
        first, *others = zip(bottoms, self.coeff, strict=True)
        return reduce(lambda total, term: torch.add(total, term[0], alpha=term[1]), others, first[0] * first[1])

    def _max(self, first: Tensor, second: Tensor, *others: Tensor) -> Tensor:
        """Of the first two bottoms the second wins a tie; of the others none does."""
        top = torch.where(first > second, first, second)
        return reduce(lambda most, x: torch.where(x > most, x, most), others, top)


class Overlay(Layer):
    """A blob, or the second bottom, laid over the first bottom's axes from `axis` on and repeated over all others."""

    def _lay(self, message: ScaleParameter | BiasParameter, bottoms: Sequence[Shape], path: str) -> Shape:
        """The shape of what is laid over; keeps how many axes follow it."""
        below = bottoms[0]
        count = len(bottoms[1]) if len(bottoms) > 1 else message.num_axes
        # A second bottom without axes fits anywhere.
        axis = 0 if len(bottoms) > 1 and not count else canonical_axis(message.axis, below, path, "axis")
        if count < -1 or axis + count > len(below):
            raise LayerError(f"{count} axes from axis {axis} on: the bottom has {len(below)}", path, "num_axes")
        shape = below[axis:] if count == -1 else below[axis : axis + count]
        if len(bottoms) > 1 and bottoms[1] != shape:
            raise LayerError(f"bottom 1 is {bottoms[1]}, but bottom 0 is {shape} from axis {axis} on", "bottom")
        self.following = len(below) - axis - len(shape)
        return shape

    def _over(self, blob: Tensor) -> Tensor:
        return blob.reshape((*blob.shape, *(1,) * self.following))

    def _own(self, blob: Tensor, x: Tensor) -> Tensor:
        """A blob of the layer as it lies over x, in the number type of x, so that the top has that too."""
        return self._over(blob.to(x.dtype))


@layer("Axpy", bottoms=3)
class Axpy(Layer):
    """y = a x + b, of SENet's fork: the first bottom a, (N, C) or (N, C, 1, 1), is one factor a channel.

    PyTorch: torch.addcmul, with a broadcast.
    """

    needs_top = False
    takes_16_bits = True

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        a, x, b = bottoms
        if x != b:
            raise LayerError(f"bottom 2 is {b}, unlike bottom 1, which is {x}", "bottom")
        if a[:2] != x[:2] or any(size != 1 for size in a[2:]) or len(x) < 2:
            raise LayerError(f"bottom 0 is {a}; it must be a factor for each channel of bottom 1, {x}", "bottom")
        self.following = len(x) - 2

    def forward(self, a: Tensor, x: Tensor, b: Tensor) -> Tensor:
        return torch.addcmul(b, x, a.reshape(*a.shape[:2], *(1,) * self.following).to(x.dtype))


@layer("Scale", bottoms=(1, 2))
class Scale(Overlay):
    """y = x s, or x s + b with `bias_term`: s and b are blobs of shape x.shape[axis : axis + num_axes].

    With two bottoms s is the second one, and only b is a blob. Without a filler s is 1 and b is 0.
    Unlike in PyTorch, shapes are matched from `axis` on, not from the last axis back.
    """

    needs_top = False
    takes_16_bits = True

    scale: Tensor
    bias: Tensor

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        scale = param.scale_param
        shape = self._lay(scale, bottoms, "scale_param")
        if len(bottoms) == 1:
            filler = scale.filler if scale.HasField("filler") else FillerParameter(type="constant", value=1)
            self.add_blob("scale", shape, filler)
        self.bias_term = bool(scale.bias_term)
        if self.bias_term:
            self.add_blob("bias", shape, scale.bias_filler)
        self.is_of_channels = len(bottoms) == 1 and len(shape) == 1 and self.following == len(bottoms[0]) - 2

    def forward(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
        if self.is_of_channels:
            return self._of_channels(x)
        scale = self._own(self.scale, x) if scale is None else self._over(scale)
        return torch.addcmul(self._own(self.bias, x), x, scale) if self.bias_term else x * scale

    def _of_channels(self, x: Tensor) -> Tensor:
        """By the kernel that normalizes, with nothing to normalize: its backward sums a channel's gradients in one
        pass, twice as fast as products and sums."""
        zero, one = (self.scale.new_full(self.scale.shape, value) for value in (0, 1))
        bias = self.bias if self.bias_term else None
        return F.batch_norm(x, zero, one, self.scale, bias, training=False, eps=LEAST_EPS)


@layer("Bias", bottoms=(1, 2))
class Bias(Overlay):
    """y = x + b: b is a blob of shape x.shape[axis : axis + num_axes] (0 without a filler), or the second bottom.

    Unlike in PyTorch, shapes are matched from `axis` on, not from the last axis back.
    """

    takes_16_bits = True

    bias: Tensor

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        shape = self._lay(param.bias_param, bottoms, "bias_param")
        if len(bottoms) == 1:
            self.add_blob("bias", shape, param.bias_param.filler)

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        return x + (self._own(self.bias, x) if bias is None else self._over(bias))
