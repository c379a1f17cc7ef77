"""Runs layers written for pycaffe: blobs of arrays, a module named ``caffe`` to import, and the way to autograd."""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from netspec.layers.base import Shape
from netspec.schema.netspec_pb2 import TEST, TRAIN, LayerParameter

Array = npt.NDArray[np.float32]


class Blob:
    """`data` and `diff`, float32 arrays of one shape, zeros until something is written into them."""

    def __init__(self, shape: Sequence[int] = (), data: Array | None = None) -> None:
        self._shape = tuple(shape) if data is None else data.shape
        self._data: Array | None = data
        self._diff: Array | None = None

    @property
    def data(self) -> Array:
        """The values; write into them (``data[...] = x``)."""
        if self._data is None:
            self._data = np.zeros(self._shape, np.float32)
        return self._data

    @property
    def diff(self) -> Array:
        """The gradient; write into it (``diff[...] = x``)."""
        if self._diff is None:
            self._diff = np.zeros(self._shape, np.float32)
        return self._diff

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of all axes."""
        return self._shape

    @property
    def count(self) -> int:
        """The number of values."""
        return math.prod(self._shape)

    @property
    def num(self) -> int:
        """The size of axis 0, or 1."""
        return self._size(0)

    @property
    def channels(self) -> int:
        """The size of axis 1, or 1."""
        return self._size(1)

    @property
    def height(self) -> int:
        """The size of axis 2, or 1."""
        return self._size(2)

    @property
    def width(self) -> int:
        """The size of axis 3, or 1."""
        return self._size(3)

    def _size(self, axis: int) -> int:
        return self._shape[axis] if axis < len(self._shape) else 1

    def reshape(self, *dims: int) -> None:
        """Take another shape; the values stay where their number does, and are zeros otherwise."""
        shape = tuple(int(dim) for dim in dims)
        same = math.prod(shape) == self.count
        self._data = self._data.reshape(shape) if same and self._data is not None else None
        self._diff = self._diff.reshape(shape) if same and self._diff is not None else None
        self._shape = shape

    def take(self, data: Array) -> None:
        """Let an array be the values, and zeros the gradient."""
        self._data, self._diff, self._shape = data, None, data.shape

    def take_diff(self, diff: Array) -> None:
        """Let an array be the gradient."""
        self._diff = diff


class BlobVec(list[Blob]):
    """The blobs of a layer."""

    def add_blob(self, *dims: int) -> None:
        """Add a blob of a shape, of zeros."""
        self.append(Blob(dims))


class Layer:
    """What ``class X(caffe.Layer)`` derives from. `param_str` and `phase` are set before `setup` is called."""

    param_str = ""
    phase = TEST

    def __init__(self, param: object = None) -> None:
        self.blobs = BlobVec()


@contextmanager
def caffe_to_import() -> Iterator[None]:
    """Let ``import caffe`` find a `Layer` that runs here: in a real pycaffe in place of its own, or, where there is
    none, in a module with that name that has nothing else but TRAIN and TEST."""
    real = "caffe" in sys.modules or importlib.util.find_spec("caffe") is not None
    caffe: Any = importlib.import_module("caffe") if real else ModuleType("caffe", caffe_to_import.__doc__)
    before = vars(caffe).copy()
    caffe.Layer = Layer
    if not real:
        caffe.TRAIN, caffe.TEST = TRAIN, TEST
        sys.modules["caffe"] = caffe
    try:
        yield
    finally:
        if real:
            caffe.Layer = before["Layer"]
        else:
            del sys.modules["caffe"]


class ArrayLayer:
    """An object with pycaffe's methods, its blobs, and its tops, which live as long as it does."""

    def __init__(self, cls: type[Any], param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        self.layer: Any = cls(*([param] if issubclass(cls, Layer) else []))
        self.layer.param_str = param.python_param.param_str
        self.layer.phase = int(param.phase)
        if not hasattr(self.layer, "blobs"):
            self.layer.blobs = BlobVec()
        pairs = zip_longest(param.top, param.bottom[: len(param.top)])
        self._own_tops = [None if top == bottom else Blob() for top, bottom in pairs]
        below = [Blob(shape) for shape in bottoms]
        self.layer.setup(below, self._tops(below))
        self.blobs = [(torch.from_numpy(blob.data.copy()), True) for blob in self.layer.blobs]

    def _tops(self, bottoms: Sequence[Blob]) -> list[Blob]:
        """The tops; one in place is the bottom."""
        return [bottoms[i] if own is None else own for i, own in enumerate(self._own_tops)]

    def shapes(self, bottoms: tuple[Tensor, ...], blobs: list[Tensor]) -> tuple[Tensor, ...]:
        below = [Blob(bottom.shape) for bottom in bottoms]
        tops = self._tops(below)
        self.layer.reshape(below, tops)
        return tuple(torch.empty(top.shape, device="meta") for top in tops)

    def run(self, bottoms: tuple[Tensor, ...], blobs: list[Tensor], place: Tensor) -> tuple[Tensor, ...]:
        tops: tuple[Tensor, ...] = _OnArrays.apply(self, place, len(bottoms), *bottoms, *blobs)
        return tops

    def forward(self, bottoms: Sequence[Tensor], blobs: Sequence[Tensor]) -> tuple[list[Blob], list[Blob]]:
        """Run the user's reshape and forward; the bottoms and tops as they left them."""
        below = [Blob(data=_array(bottom, copy=True)) for bottom in bottoms]
        tops = self._tops(below)
        for blob, tensor in zip(self.layer.blobs, blobs, strict=True):
            blob.take(_array(tensor))
        self.layer.reshape(below, tops)
        self.layer.forward(below, tops)
        for blob, tensor in zip(self.layer.blobs, blobs, strict=True):
            if tensor.device.type != "cpu":  # On the CPU, the array is the memory of the tensor.
                tensor.data.copy_(torch.from_numpy(blob.data))
        return below, tops

    def backward(
        self, tops: list[Blob], flows: list[bool], bottoms: list[Blob], grads: Sequence[Tensor]
    ) -> list[Array]:
        """Run the user's backward; the gradients of the bottoms, then those of the blobs."""
        for bottom in bottoms:
            bottom.take_diff(np.zeros(bottom.shape, np.float32))
        for top, grad in zip(tops, grads, strict=True):
            top.take_diff(_array(grad, copy=True))
        for blob in self.layer.blobs:
            blob.take_diff(np.zeros(blob.shape, np.float32))
        self.layer.backward(tops, flows, bottoms)
        return [blob.diff for blob in (*bottoms, *self.layer.blobs)]


class _OnArrays(torch.autograd.Function):
    """Hands tensors over as arrays, and arrays back as tensors, in both directions."""

    @staticmethod
    def forward(ctx: Any, host: ArrayLayer, place: Tensor, bottoms: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.host, ctx.place = host, place
        ctx.below, ctx.tops = host.forward(tensors[:bottoms], tensors[bottoms:])
        return tuple(torch.from_numpy(top.data.copy()).to(place.device) for top in ctx.tops)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        needed = ctx.needs_input_grad[3:]
        diffs = ctx.host.backward(ctx.tops, list(needed[: len(ctx.below)]), ctx.below, grads)
        given = [
            torch.from_numpy(diff.copy()).to(ctx.place.device) if need else None
            for diff, need in zip(diffs, needed, strict=True)
        ]
        return (None, None, None, *given)


def _array(tensor: Tensor, copy: bool = False) -> Array:
    """A tensor as an array on the host, of its own memory with `copy` or where the tensor is on another device."""
    tensor = tensor.detach().to("cpu", torch.float32, copy=copy).contiguous()
    array: Array = tensor.numpy()
    return array
