"""Datum, Caffe's record of one image: making one, and the pixels of one."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from netspec.data.jpeg import decode_jpeg
from netspec.errors import DataError
from netspec.schema.netspec_pb2 import Datum

Pixels = NDArray[Any]  # uint8, or float32 from a Datum with float_data

FORMATS = ("JPEG", "PNG", "BMP")
PIXEL_LIMIT = 1 << 25

GREY_MODES = ("1", "L")
COLOUR_MODES = ("RGB", "P", "CMYK", "YCbCr")
_ALPHA_MODES = ("RGBA", "LA", "PA")


def raw_datum(image: Pixels, label: int | None = None) -> Datum:
    """A Datum that holds the pixels of a uint8 image (C, H, W), BGR where it has colour, with every field that Caffe
    sets, so that its bytes are the same."""
    channels, height, width = image.shape
    return Datum(channels=channels, height=height, width=width, data=image.tobytes(), label=label, encoded=False)


def encoded_datum(data: bytes, label: int) -> Datum:
    """A Datum that holds an image file's bytes."""
    return Datum(data=data, label=label, encoded=True)


def decode(datum: Datum, colour: bool | None = None) -> Pixels:
    """The pixels (C, H, W) of a Datum, BGR as in Caffe: uint8, or float32 where they are stored as `float_data`.

    An encoded image becomes BGR or grey as `colour` says; None leaves it as it is stored. Raises DataError.
    """
    if datum.encoded:
        fast = decode_jpeg(datum.data, colour, PIXEL_LIMIT)
        return _decode_image(datum.data, colour) if fast is None else fast
    shape = (datum.channels, datum.height, datum.width)
    if min(shape) < 1:
        raise DataError(f"the dimensions {shape_text(shape)} are not positive")
    stored: Pixels
    if datum.data or not datum.float_data:
        stored, unit = np.frombuffer(datum.data, np.uint8), "bytes"
    else:
        stored, unit = np.array(datum.float_data, np.float32), "numbers"
    if stored.size != math.prod(shape):
        raise DataError(f"data has {stored.size} {unit}, {shape_text(shape)} needs {math.prod(shape)}")
    return stored.reshape(shape)


def pillow_image(image: Pixels) -> Image.Image:
    """A uint8 image (C, H, W) as Pillow has it: BGR in colour, of others the first channel."""
    return Image.fromarray(image[::-1].transpose(1, 2, 0).copy() if len(image) == 3 else image[0])


def _decode_image(data: bytes, colour: bool | None) -> Pixels:
    kind = "an image (JPEG, PNG or BMP)"
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            kind = str(image.format)
            # The header alone is read so far: a small file may claim a size that fills the memory.
            if image.width * image.height > PIXEL_LIMIT:
                raise DataError(f"{image.width}x{image.height} pixels are more than the limit of {PIXEL_LIMIT}")
            if _has_colour(image, colour):
                converted, order, channels = image.convert("RGB"), "BGR", 3
            else:
                image.draft("L", image.size)  # Caffe's grey of a JPEG is its stored luma
                converted, order, channels = image.convert("L"), "L", 1
            pixels = np.frombuffer(converted.tobytes("raw", order), np.uint8)
    except DataError:
        raise
    except Exception as error:  # Pillow raises errors of many kinds on damaged data
        cause = "not one of these" if isinstance(error, UnidentifiedImageError) else error
        raise DataError(f"cannot decode {kind}: {cause}") from None
    planes: Pixels = pixels.reshape(converted.height, converted.width, channels).transpose(2, 0, 1)
    return planes


def _has_colour(image: Image.Image, colour: bool | None) -> bool:
    if image.mode in GREY_MODES or image.mode in COLOUR_MODES:
        return image.mode in COLOUR_MODES if colour is None else colour
    if image.mode not in _ALPHA_MODES:
        raise DataError(f"a {image.format} with pixels of kind {image.mode} is not 8 bits a channel")
    if colour is None:
        raise DataError(f"a {image.format} with an alpha channel; force_color or force_gray drops it")
    return colour


def shape_text(shape: tuple[int, ...]) -> str:
    """A shape as messages write it."""
    return "x".join(map(str, shape))
