"""The pixels of a Datum."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from netspec.data.datum import Datum, decode, encoded_datum, raw_datum
from netspec.errors import DataError


def jpeg():
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(file, "JPEG")
    return file.getvalue()


JPEG = jpeg()


def png(width, height, depth=8, kind=2, rows=b""):
    """A PNG whose header claims what it likes."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@given(arrays.arrays(np.uint8, arrays.array_shapes(min_dims=3, max_dims=3, max_side=6)), st.integers(-1, 2**31 - 1))
def test_raw_pixels_come_back(image, label):
    """A raw Datum returns its image and label."""
    datum = Datum.FromString(raw_datum(image, label).SerializeToString())
    assert datum.label == label
    np.testing.assert_array_equal(decode(datum), image)


def test_float_data_is_float32():
    """A Datum with float_data gives float32 numbers."""
    image = decode(Datum(channels=1, height=2, width=2, float_data=[0.5, -1, 2, 3]))
    assert image.dtype == np.float32
    assert image.tolist() == [[[0.5, -1], [2, 3]]]


@pytest.mark.parametrize("form", ["PNG", "BMP"])
@pytest.mark.parametrize("channels", [1, 3])
def test_lossless_files_come_back_as_bgr(form, channels, pixels, encode):
    """A lossless file gives the pixels it was made from, blue first, and grey stays one channel."""
    image = pixels(1, channels, 5, 7)[0]
    np.testing.assert_array_equal(decode(encoded_datum(encode(image, form), 0)), image)


def test_colour_as_asked(pixels, encode):
    """Grey becomes three equal channels, and colour the luma, when asked."""
    grey, colour = pixels(1, 1, 5, 7)[0], pixels(1, 3, 5, 7)[0]
    np.testing.assert_array_equal(decode(encoded_datum(encode(grey), 0), True), grey.repeat(3, axis=0))
    luma = decode(encoded_datum(encode(colour), 0), False)
    assert luma.shape == (1, 5, 7)
    np.testing.assert_allclose(luma[0], np.tensordot([0.114, 0.587, 0.299], colour, 1), atol=1)


@pytest.mark.parametrize(
    ("datum", "cause"),
    [
        (Datum(channels=1, height=8, width=8, data=bytes(190)), "data has 190 bytes, 1x8x8 needs 64"),
        (Datum(channels=1, height=2, width=2, float_data=[1]), "data has 1 numbers, 1x2x2 needs 4"),
        (Datum(channels=2**31 - 1, height=2**31 - 1, width=2**31 - 1, data=b"x"), "needs 99035203"),
        (Datum(data=b"x"), "dimensions 0x0x0 are not positive"),
        (Datum(channels=1, height=-2, width=-2, data=bytes(4)), "dimensions 1x-2x-2 are not positive"),
        (encoded_datum(b"no image", 0), r"cannot decode an image \(JPEG, PNG or BMP\): not one of these"),
        (encoded_datum(b"", 0), "cannot decode an image"),
        (encoded_datum(b"GIF89a" + bytes(50), 0), "not one of these"),
        (encoded_datum(png(9000, 9000), 0), "9000x9000 pixels are more than the limit"),
        (encoded_datum(png(2**31 - 1, 2**31 - 1), 0), "cannot decode|more than the limit"),
        (encoded_datum(png(1, 1, depth=16, kind=0, rows=bytes(3)), 0), "not 8 bits a channel"),
        (encoded_datum(png(1, 1, kind=6, rows=bytes(5)), 0), "alpha channel; force_color or force_gray drops it"),
        (encoded_datum(png(4, 4), 0), "cannot decode PNG"),
    ],
)
def test_refuses_bad_data(datum, cause):
    """Data that does not fit its dimensions, or is no image of a known format and size, is refused with the cause."""
    with pytest.raises(DataError, match=cause):
        decode(datum)


def test_alpha_is_dropped_when_asked():
    """An image with an alpha channel is read when its colour is asked for."""
    assert decode(encoded_datum(png(1, 1, kind=6, rows=b"\0\1\2\3\4"), 0), True).ravel().tolist() == [3, 2, 1]


@settings(max_examples=300)
@given(st.randoms(use_true_random=False), st.integers(1, 8), st.floats(0, 1))
def test_damaged_jpegs_decode_or_are_refused(random, flips, share):
    """A JPEG with changed bytes or a lost end gives an image of 8 bits or a DataError, and nothing else."""
    data = bytearray(JPEG)
    for _ in range(flips):
        data[random.randrange(len(data))] = random.randrange(256)
    try:
        image = decode(encoded_datum(bytes(data[: int(len(data) * max(share, 0.5))]), 0))
    except DataError:
        return
    assert image.dtype == np.uint8
    assert image.ndim == 3
