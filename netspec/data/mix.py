"""Mixup and CutMix: the images of a batch mixed in pairs, and their labels with them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from netspec.data.buffers import Buffers
from netspec.data.labels import LabelRule, Labels
from netspec.data.order import Indices, Words, below, unit, words
from netspec.layers.base import LayerError, Shape
from netspec.schema.netspec_pb2 import TRAIN, LayerParameter, TransformationParameter

_SPACE = 0x6D6978  # apart from the draws of the transform and of the order
_PARTNER, _KIND, _RADIUS, _ANGLE, _Y, _X = range(6)  # which draw of a record a random word is for

_Array = TypeVar("_Array", Tensor, NDArray[Any])


@dataclass(frozen=True)
class Mix:
    """What each image of a batch takes over from another one, its `partner`: the part `weight` of every pixel in a box
    that begins at `first` and ends before `last`, both (2, N): y and x."""

    partner: Indices
    weight: NDArray[np.float32]
    first: Indices
    last: Indices

    def table(self) -> Tensor:
        """All of it as one tensor (N, 6), which moves to a device as one."""
        columns = np.stack([self.partner, self.weight, *self.first, *self.last], 1)
        return torch.from_numpy(columns.astype(np.float32))


class Mixing:
    """Mixup (Zhang et al. 2018) and CutMix (Yun et al. 2019) of images (C, H, W) of some classes.

    The partners of a batch are the batch in another order, in which an image may meet itself. Each image draws a part
    of its own from Beta(alpha, alpha), where the papers draw one for the batch: what an image is mixed by then depends
    only on (seed, position), and a batch shows many parts. With both alphas each image draws which of the two.
    """

    def __init__(self, transform: TransformationParameter, image: Shape, layer: str) -> None:
        self.classes = int(transform.classes)
        self._rule = LabelRule(self.classes, None, layer)
        self._mixup, self._cutmix = float(transform.mixup_alpha), float(transform.cutmix_alpha)
        self._buffers = Buffers()
        self._size: Indices = np.array(image[1:], np.int64)

    def draw(self, positions: Indices, seed: int) -> Mix:
        """How the records at these positions, a batch, are mixed."""

        def draws(which: int) -> Words:
            return words(positions, seed, _SPACE, which)

        cuts = np.full(len(positions), not self._mixup)
        if self._mixup and self._cutmix:
            cuts = below(draws(_KIND), 2) == 1
        alpha = np.where(cuts, self._cutmix, self._mixup)
        part = beta(draws(_RADIUS), draws(_ANGLE), alpha)
        centre = np.stack([below(draws(which), size) for which, size in zip((_Y, _X), self._size, strict=True)])
        size = self._size[:, None]
        half = np.where(cuts, (size * np.sqrt(part)).astype(np.int64) // 2, size)
        weight = np.where(cuts, 1, part).astype(np.float32)
        first, last = np.maximum(centre - half, 0), np.minimum(centre + half, size)
        return Mix(np.argsort(draws(_PARTNER), kind="stable"), weight, first, last)

    def shares(self, labels: Labels, mix: Mix, where: Callable[[int], str]) -> Labels:
        """The labels (N,) mixed: the share of each class in each image, (N, classes). A fraction counts as the whole
        number before it. DataError where a label is none of the classes; `where` names an image of the batch."""
        self._rule.hold(labels, where)
        part = mix.weight * (mix.last - mix.first).prod(axis=0) / self._size.prod()
        shares = np.zeros((len(labels), self.classes))
        images, classes = np.arange(len(labels)), labels.astype(np.int64)
        shares[images, classes] = 1 - part
        shares[images, classes[mix.partner]] += part
        return shares

    def __call__(self, images: Tensor, mix: Mix, table: Tensor | None = None) -> Tensor:
        """The images (N, C, H, W), float32, mixed; they are overwritten. `table` is that of the mix, if it lies on
        their device already."""
        if images.device.type != "cpu":
            return self._on_device(images, mix.table().to(images.device) if table is None else table)
        # numpy computes on the calling thread alone; torch would take the other cores from the training.
        partners = self._buffers.take(images.shape, np.float32)
        np.take(images.numpy(), mix.partner, 0, partners, "clip")  # to "raise" it would take a copy first
        rows, columns = (np.arange(size) for size in self._size)
        return torch.from_numpy(_mixed(images.numpy(), partners, mix.weight, mix.first, mix.last, rows, columns))

    def _on_device(self, images: Tensor, table: Tensor) -> Tensor:
        partner, weight, first, last = table.T.split_with_sizes([1, 1, 2, 2])
        rows, columns = (torch.arange(size, device=images.device) for size in self._size.tolist())
        return _mixed(images, images[partner[0].long()], weight[0], first, last, rows, columns)


def _mixed(
    images: _Array, partners: _Array, weight: _Array, first: _Array, last: _Array, rows: _Array, columns: _Array
) -> _Array:
    y = (rows >= first[0, :, None]) & (rows < last[0, :, None])
    x = (columns >= first[1, :, None]) & (columns < last[1, :, None])
    part = ((y[:, :, None] & x[:, None, :]) * weight[:, None, None])[:, None]
    partners *= part
    images *= 1 - part
    partners += images
    return partners


def beta(radius: Words, angle: Words, alpha: NDArray[np.float64]) -> NDArray[np.float64]:
    """Numbers drawn from Beta(alpha, alpha) by two words each: Student's t with 2 alpha degrees of freedom by Bailey's
    polar method (1994), brought to 0..1 as in Devroye (1996)."""
    with np.errstate(over="ignore", divide="ignore"):
        # t * t / (2 alpha); infinite for a small alpha, which gives 0 or 1
        square = np.expm1(-np.log(1 - unit(radius)) / alpha)
        cosine = np.cos(2 * math.pi * unit(angle))
        drawn: NDArray[np.float64] = 0.5 + np.copysign(0.5 / np.sqrt(1 + 1 / (square * cosine**2)), cosine)
    return drawn


def mixing_of(param: LayerParameter, phase: int, image: Shape) -> Mixing | None:
    """How a layer mixes its images (C, H, W), None where it does not; LayerError where its message makes no sense."""
    transform = param.transform_param
    for field in ("mixup_alpha", "cutmix_alpha"):
        if (alpha := getattr(transform, field)) < 0:
            raise LayerError(f"{field} must be 0 or more, not {alpha:g}", "transform_param", field)
    field = "mixup_alpha" if transform.mixup_alpha else "cutmix_alpha"
    if not getattr(transform, field):
        return None
    if transform.classes < 2:
        reason = f"{field} needs classes, the number of classes: at least 2, not {transform.classes}"
        raise LayerError(reason, "transform_param", "classes" if transform.classes else field)
    if phase != TRAIN:
        return None
    if len(param.top) < 2:
        raise LayerError(f"{field} mixes labels too, but the layer has no top for them", "top")
    return Mixing(transform, image, param.name)
