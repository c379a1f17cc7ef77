"""Memory of batches, used again and again: fresh pages cost more than what is computed in them."""

from __future__ import annotations

import math
import weakref

import numpy as np
from numpy.typing import DTypeLike

from netspec.data.datum import Pixels


class Buffers:
    """Arrays whose memory comes back once nobody holds them any more, no tensor made of them either. A consumer may so
    keep a batch as long as it likes. May be used from several threads."""

    def __init__(self) -> None:
        self._free: list[bytearray] = []

    def take(self, shape: tuple[int, ...], dtype: DTypeLike) -> Pixels:
        """An array of that shape, its contents undefined."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        memory = self._find(size)
        # Over bytes: a view of an array over another array would keep only that other one alive.
        array: Pixels = np.ndarray(shape, dtype, memory)
        weakref.finalize(array, self._free.append, memory).atexit = False
        return array

    def _find(self, size: int) -> bytearray:
        """Free memory of so many bytes; what is of another size is let go."""
        while self._free:
            try:
                memory = self._free.pop()
            except IndexError:  # another thread was faster
                break
            if len(memory) == size:
                return memory
        return bytearray(size)
