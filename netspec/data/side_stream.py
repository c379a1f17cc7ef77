"""The way of batches to a GPU: one copy for each, beside what the GPU computes."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

import torch
from torch import Tensor, cuda

from netspec.layers.base import Shape

_ALIGNMENT = 64  # bytes


@dataclass(frozen=True)
class Place:
    """Where a tensor lies in a buffer of bytes."""

    first: int
    dtype: torch.dtype
    shape: Shape

    @property
    def end(self) -> int:
        """Behind its last byte."""
        return self.first + math.prod(self.shape) * self.dtype.itemsize

    def of(self, buffer: Tensor) -> Tensor:
        """The tensor, which shares the buffer's memory."""
        return buffer[self.first : self.end].view(self.dtype).view(self.shape)


@dataclass(frozen=True)
class Moved:
    """Tensors on their way to a GPU."""

    buffer: Tensor
    places: Sequence[Place]
    copied: cuda.Event

    def tensors(self) -> list[Tensor]:
        """The tensors, for the current stream alone, which waits until they are there; the caller does not."""
        stream = cuda.current_stream(self.buffer.device)
        stream.wait_event(self.copied)
        self.buffer.record_stream(stream)  # else its memory might be used again before this stream is done with it
        return [place.of(self.buffer) for place in self.places]


class SideStream:
    """Copies batches to a GPU on a stream of its own, which waits for nothing that is computed there.

    The tensors of a batch are packed into one of two buffers in pinned memory: one is filled as the other is copied.
    May be used from several threads.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._stream, self._lock = device, cuda.Stream(device), Lock()  # type: ignore[no-untyped-call]
        self._buffers = deque(((torch.empty(0, dtype=torch.uint8), _event()) for _ in range(2)), maxlen=2)

    def move(self, tensors: Sequence[Tensor]) -> Moved:
        """Begin to copy tensors of the machine's memory, which may be overwritten afterwards."""
        places = _packed(tensors)
        size = places[-1].end if places else 0
        with self._lock, cuda.stream(self._stream):
            pinned, copied = self._buffers[0]
            copied.synchronize()  # an event that was never recorded is over
            if len(pinned) < size:
                pinned = pinned_bytes(size)
            for tensor, place in zip(tensors, places, strict=True):
                place.of(pinned).copy_(tensor)
            buffer = torch.empty(size, dtype=torch.uint8, device=self._device)
            buffer.copy_(pinned[:size], non_blocking=True)
            copied = _event()  # a new one: the batch before may not have been waited for yet
            copied.record()
            self._buffers.append((pinned, copied))  # in place of the first
        return Moved(buffer, places, copied)


def pinned_bytes(size: int) -> Tensor:
    """Memory that a GPU copies from by itself."""
    return torch.empty(size, dtype=torch.uint8, pin_memory=True)


def _event() -> cuda.Event:
    return cuda.Event()  # type: ignore[no-untyped-call]


def _packed(tensors: Sequence[Tensor]) -> list[Place]:
    """Places for tensors behind each other, each aligned for any type."""
    places, end = list[Place](), 0
    for tensor in tensors:
        places.append(Place(-(-end // _ALIGNMENT) * _ALIGNMENT, tensor.dtype, tuple(tensor.shape)))
        end = places[-1].end
    return places
