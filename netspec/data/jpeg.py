"""JPEGs decoded fast, to the same pixels as by Pillow: by simplejpeg where it is installed, else by torchvision."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from struct import unpack_from

import numpy as np
from numpy.typing import NDArray

Planes = NDArray[np.uint8]

_START = b"\xff\xd8"
_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended, progressive
_BETWEEN = (0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0))  # segments that may stand before a frame


def decode_jpeg(data: bytes, colour: bool | None, pixel_limit: int) -> Planes | None:
    """The pixels (C, H, W) of a JPEG, BGR or, as they are stored, luma; with `colour` None as many channels as it has.

    None where Pillow should have a look: at what is no usual JPEG of 1 or 3 channels, is damaged, has more pixels than
    the limit by its header (which alone is read then), or where no fast decoder is there.
    """
    decoder = _decoder()
    size = _size(data)
    if decoder is None or size is None or size[0] * size[1] > pixel_limit:
        return None
    try:
        return decoder(data, size[2] == 3 if colour is None else colour)
    except (ValueError, RuntimeError):
        return None


def _size(data: bytes) -> tuple[int, int, int] | None:
    """(height, width, channels) by the frame header, the segments before it followed one by one as a decoder does."""
    place = 2 if data[:2] == _START else len(data)
    while place + 10 <= len(data) and data[place] == 0xFF:
        kind = data[place + 1]
        if kind in _FRAMES:
            bits, height, width, channels = unpack_from(">BHHB", data, place + 4)
            return (height, width, channels) if bits == 8 and channels in (1, 3) else None
        if kind not in _BETWEEN:
            return None
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return None


def choose_decoder() -> Callable[[bytes, bool], Planes] | None:
    """The fastest decoder that is there; both let other threads run meanwhile."""
    for make in (_simplejpeg, _torchvision):
        try:
            return make()
        except (ImportError, AttributeError):
            continue
    return None


_decoder = cache(choose_decoder)


def _simplejpeg() -> Callable[[bytes, bool], Planes]:
    decode = import_module("simplejpeg").decode_jpeg

    def by_simplejpeg(data: bytes, colour: bool) -> Planes:
        pixels: Planes = decode(data, "BGR" if colour else "GRAY", fastdct=False, fastupsample=False)
        planes: Planes = pixels.transpose(2, 0, 1)
        return planes

    return by_simplejpeg


def _torchvision() -> Callable[[bytes, bool], Planes]:
    import torch
    import torchvision.io as io

    decode = torch.ops.image.decode_jpeg
    modes = io.ImageReadMode.GRAY.value, io.ImageReadMode.RGB.value

    def by_torchvision(data: bytes, colour: bool) -> Planes:
        # The copy may be written to, which torch wants of what it shares.
        pixels = decode(torch.frombuffer(bytearray(data), dtype=torch.uint8), modes[colour], False)
        planes: Planes = pixels.numpy()[::-1]
        return planes

    return by_torchvision
