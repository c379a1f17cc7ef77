"""What a caller gives for the inputs of a net, made into the blobs that its layers take."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from netspec.layers.base import Shape
from netspec.precision import is_16_bit
from netspec.schema.netspec_pb2 import Precision


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


def fastest_format(device: torch.device, precision: Precision.Kind) -> torch.memory_format:
    """The memory format that convolutions want: channels last in 16 bits and, by oneDNN, on the CPU, where NIN trains
    1.4 times as fast in it."""
    is_last = device.type == "cpu" or is_16_bit(precision)
    return torch.channels_last if is_last else torch.contiguous_format


def laid_out(tensor: Tensor, memory_format: torch.memory_format) -> Tensor:
    """Images (N, C, H, W) in a memory format, which every layer after takes over; other blobs as they are."""
    if tensor.dim() != 4:
        return tensor
    if memory_format == torch.channels_last and tensor.shape[1] == 1:
        # One channel lies the same in both formats: only strides tell a convolution in which one its top should be.
        return tensor.contiguous().view(len(tensor), *tensor.shape[2:], 1).movedim(-1, 1)
    return tensor.contiguous(memory_format=memory_format)
