"""Fillers: the first values of a blob."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from netspec.errors import nearest
from netspec.schema.netspec_pb2 import FillerParameter

Fill = Callable[[Tensor, FillerParameter, Generator | None], object]


class FillerError(ValueError):
    """A filler that makes no sense, by itself or for its blob. `field` is the guilty field of the filler's message."""

    def __init__(self, reason: str, *field: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.field = field


@torch.no_grad()
def fill(blob: Tensor, filler: FillerParameter, generator: Generator | None = None) -> None:
    """Fill `blob` in place by the filler's rule; random numbers come from `generator`, of the blob's device. A blob
    without values stays as it is."""
    if filler.type not in FILLERS:
        hint = nearest(filler.type, FILLERS) or f"there are {', '.join(FILLERS)}"
        raise FillerError(f'there is no filler type "{filler.type}"; {hint}', "type")
    if filler.sparse != -1 and filler.type != "gaussian":
        raise FillerError(f"sparse works with gaussian, not with {filler.type}", "sparse")
    if blob.numel():
        FILLERS[filler.type](blob, filler, generator)


def _constant(blob: Tensor, filler: FillerParameter, generator: Generator | None) -> None:
    blob.fill_(filler.value)


def _uniform(blob: Tensor, filler: FillerParameter, generator: Generator | None) -> None:
    if filler.min > filler.max:
        raise FillerError(f"min {filler.min:g} is larger than max {filler.max:g}", "min")
    blob.uniform_(filler.min, filler.max, generator=generator)


def _gaussian(blob: Tensor, filler: FillerParameter, generator: Generator | None) -> None:
    """N(mean, std); with `sparse` each value is kept with probability sparse / shape[0], the others are 0."""
    if filler.std < 0:
        raise FillerError(f"std must not be negative, but is {filler.std:g}", "std")
    outputs = blob.shape[:1].numel()
    if not -1 <= filler.sparse <= outputs:
        raise FillerError(f"sparse must be from 0 to the {outputs} outputs, not {filler.sparse}", "sparse")
    blob.normal_(filler.mean, filler.std, generator=generator)
    if filler.sparse >= 0:
        blob.mul_(torch.empty_like(blob).bernoulli_(filler.sparse / outputs, generator=generator))


def _positive_unitball(blob: Tensor, filler: FillerParameter, generator: Generator | None) -> None:
    """U(0, 1), each output's weights divided by their sum."""
    blob.uniform_(0, 1, generator=generator)
    rows = blob.view(blob.shape[:1].numel(), -1)
    rows.div_(rows.sum(1, keepdim=True))


def _xavier(blob: Tensor, filler: FillerParameter, generator: Generator | None) -> None:
    """U(-a, a) with a = sqrt(3 / n) (Glorot and Bengio 2010); PyTorch's takes the average of both fans."""
    bound = math.sqrt(3 / _fan(blob, filler))
    blob.uniform_(-bound, bound, generator=generator)


def _msra(blob: Tensor, filler: FillerParameter, generator: Generator | None) -> None:
    """N(0, sqrt(2 / n)) (He et al. 2015)."""
    blob.normal_(0, math.sqrt(2 / _fan(blob, filler)), generator=generator)


def _bilinear(blob: Tensor, filler: FillerParameter, generator: Generator | None) -> None:
    """The kernel of bilinear upsampling, for every pair of channels (Deconvolution's group must be its channels)."""
    if blob.dim() != 4 or blob.shape[2] != blob.shape[3]:
        raise FillerError(f"bilinear fills blobs of 4 axes with a square kernel, not {tuple(blob.shape)}", "type")
    factor = math.ceil(blob.shape[3] / 2)
    centre = (blob.shape[3] - 1) / (2 * factor)
    row = 1 - (torch.arange(blob.shape[3], dtype=blob.dtype, device=blob.device) / factor - centre).abs()
    blob.copy_(row[:, None] * row)


def _fan(blob: Tensor, filler: FillerParameter) -> float:
    """n of xavier and msra: count / shape[0] (in), count / shape[1] (out) of the blob as stored, or their mean."""
    fan_in = blob.numel() / blob.shape[:1].numel()
    fan_out = blob.numel() / blob.shape[1:2].numel()
    if filler.variance_norm == FillerParameter.FAN_IN:
        return fan_in
    return fan_out if filler.variance_norm == FillerParameter.FAN_OUT else (fan_in + fan_out) / 2


FILLERS: dict[str, Fill] = {
    "constant": _constant,
    "uniform": _uniform,
    "gaussian": _gaussian,
    "positive_unitball": _positive_unitball,
    "xavier": _xavier,
    "msra": _msra,
    "bilinear": _bilinear,
}
FILLER_TYPES = tuple(FILLERS)
