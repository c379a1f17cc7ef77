"""In which order the values of images lie in memory."""

from __future__ import annotations

import torch
from torch import Tensor

from netspec.precision import is_16_bit
from netspec.schema.netspec_pb2 import Precision


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
