"""Runs layers written for pycaffe: blobs of arrays, a module named ``caffe`` to import, and the way to autograd."""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from itertools import zip_longest
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from netspec.layers.base import Shape
from netspec.layers.user_code import CodeError, running
from netspec.schema.netspec_pb2 import TEST, TRAIN, LayerParameter

Array = npt.NDArray[np.float32]


class Phase(IntEnum):
    """A phase as layers know it: the number of today's pycaffe, and as a text the name that older ones had."""

    TRAIN = TRAIN
    TEST = TEST

    def __str__(self) -> str:
        return self.name


class Blob:
    """`data` and `diff`, float32 arrays of one shape, zeros until something is written into them."""

    def __init__(self, shape: Sequence[int] = (), data: Array | None = None) -> None:
        self._shape = _sizes(shape) if data is None else data.shape
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
        shape = _sizes(dims)
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


def _sizes(dims: Iterable[int]) -> tuple[int, ...]:
    """The sizes of all axes; what Python 2 divided, and Python 3 makes a float, is cut off as it was there."""
    try:
        shape = tuple(int(dim) for dim in dims)
    except TypeError:
        raise TypeError("a blob's sizes are numbers, one by one: write reshape(*shape) for a tuple") from None
    if any(size < 0 for size in shape):
        raise ValueError(f"a blob cannot have the shape {shape}: a size is negative")
    return shape


class BlobVec(list[Blob]):
    """The blobs of a layer."""

    def add_blob(self, *dims: int) -> None:
        """Add a blob of a shape, of zeros."""
        self.append(Blob(dims))


class Layer:
    """What ``class X(caffe.Layer)`` derives from; before `setup`, `param_str` (older: `param_str_`) and `phase` are
    set."""

    param_str = param_str_ = ""
    phase = Phase.TEST

    def __init__(self, param: object = None) -> None:
        self.blobs = BlobVec()


class _StandIn(ModuleType):
    """What ``import caffe`` finds where there is no pycaffe."""

    def __init__(self) -> None:
        super().__init__("caffe", self.__doc__)
        self.Layer, self.TRAIN, self.TEST = Layer, Phase.TRAIN, Phase.TEST

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f'there is no pycaffe here: "caffe" has Layer, TRAIN and TEST, but no "{name}"')


@contextmanager
def caffe_to_import() -> Iterator[None]:
    """Let ``import caffe`` find a `Layer` that runs here: in a real pycaffe in place of its own, or in a stand-in."""
    if not _has_pycaffe():
        sys.modules["caffe"] = _StandIn()
        try:
            yield
        finally:
            del sys.modules["caffe"]
        return
    caffe: Any = importlib.import_module("caffe")
    before, caffe.Layer = caffe.Layer, Layer
    try:
        yield
    finally:
        caffe.Layer = before


def _has_pycaffe() -> bool:
    """Whether ``import caffe`` finds a module; a mere folder of that name, such as Caffe's sources, is none."""
    if "caffe" in sys.modules:
        return True
    spec = importlib.util.find_spec("caffe")
    return spec is not None and spec.origin is not None


class ArrayLayer:
    """An object with pycaffe's methods, its blobs, and its tops, which live as long as it does."""

    def __init__(self, cls: type[Any], param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        self.name = param.name
        self.layer: Any = cls(*([param] if issubclass(cls, Layer) else []))
        self.layer.param_str = self.layer.param_str_ = param.python_param.param_str
        self.layer.phase = Phase(param.phase)
        if not hasattr(self.layer, "blobs"):
            self.layer.blobs = BlobVec()
        pairs = zip_longest(param.top, param.bottom[: len(param.top)])
        self._own_tops = [None if top == bottom else Blob() for top, bottom in pairs]
        below = [Blob(shape) for shape in bottoms]
        tops = self._tops(below)
        self.layer.setup(below, tops)
        self.layer.reshape(below, tops)
        self._shapes = [top.shape for top in tops]
        self.blobs = [(torch.from_numpy(blob.data.copy()), True) for blob in self.layer.blobs]

    def _tops(self, bottoms: Sequence[Blob]) -> list[Blob]:
        """The tops; one in place is the bottom."""
        return [bottoms[i] if own is None else own for i, own in enumerate(self._own_tops)]

    def shapes(self, bottoms: tuple[Tensor, ...], blobs: list[Tensor]) -> tuple[Tensor, ...]:
        return tuple(torch.empty(shape, device="meta") for shape in self._shapes)

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
            # The array is the memory of the tensor, unless that is on another device or of another type.
            if blob.data.ctypes.data != tensor.data_ptr():
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
        cls = type(self.layer)
        if not hasattr(cls, "backward"):
            raise CodeError(
                f'layer "{self.name}": {cls.__name__} has no method "backward": no gradient can flow through'
            )
        with running(cls, self.name):
            self.layer.backward(tops, flows, bottoms)
        return [blob.diff for blob in (*bottoms, *self.layer.blobs)]


class _OnArrays(torch.autograd.Function):
    """Hands tensors over as arrays, and arrays back as tensors, in both directions."""

    @staticmethod
    def forward(ctx: Any, host: ArrayLayer, place: Tensor, bottoms: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.host, ctx.place = host, place
        ctx.below, ctx.tops = host.forward(tensors[:bottoms], tensors[bottoms:])
        return tuple(torch.from_numpy(top.data.copy()).to(place) for top in ctx.tops)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        needed = ctx.needs_input_grad[3:]
        diffs = ctx.host.backward(ctx.tops, list(needed[: len(ctx.below)]), ctx.below, grads)
        given = [
            torch.from_numpy(diff.copy()).to(ctx.place) if need else None
            for diff, need in zip(diffs, needed, strict=True)
        ]
        return (None, None, None, *given)


def _array(tensor: Tensor, copy: bool = False) -> Array:
    """A tensor as an array on the host, of its own memory with `copy` or where the tensor is on another device."""
    tensor = tensor.detach().to("cpu", torch.float32, copy=copy).contiguous()
    array: Array = tensor.numpy()
    return array
