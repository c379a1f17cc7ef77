"""What a caller gives for the inputs of a net, made into the blobs that its layers take."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from netspec.layers.base import Shape


def as_blob(name: str, given: Any, shape: Shape, like: Tensor) -> Tensor:
    """A tensor or an array of real numbers in the number type of `like` and on its device; gradients pass.

    ValueError where it is anything else, or has not the shape, whose first axis may have any size.
    """
    if not _is_real(given):
        kind = f"{type(given).__name__} of {given.dtype}" if hasattr(given, "dtype") else type(given).__name__
        raise ValueError(f'"{name}" must be a dense tensor or an array of real numbers, of shape {shape}, not a {kind}')
    if len(given.shape) != len(shape) or tuple(given.shape[1:]) != shape[1:]:
        raise ValueError(f'"{name}" has shape {tuple(given.shape)}; the net was compiled for {shape}')
    tensor = torch.from_numpy(np.array(given, np.float32)) if isinstance(given, np.ndarray) else given
    return tensor.to(like)


def _is_real(given: object) -> bool:
    if isinstance(given, np.ndarray):
        return given.dtype.kind in "buif"
    if not isinstance(given, Tensor) or given.layout != torch.strided:
        return False
    return not (given.is_complex() or given.is_quantized)
