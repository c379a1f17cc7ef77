"""JPEGs decoded by the fast decoders."""

import io
import random

import numpy as np
import pytest
from PIL import Image

from netspec.data import datum, jpeg
from netspec.data.datum import PIXEL_LIMIT, decode, encoded_datum
from netspec.data.jpeg import decode_jpeg
from netspec.errors import DataError

SIZES = [(64, 64), (1, 1), (17, 33), (250, 3)]  # width, height
FORMS = {
    "baseline": {},
    "progressive": {"progressive": True},
    "4:4:4": {"subsampling": 0, "quality": 100},
    "4:2:2": {"subsampling": 1},
    "4:2:0": {"subsampling": 2, "quality": 30},
    "restarts": {"restart_marker_blocks": 1},
    "comment and exif": {"comment": b"words", "exif": b"Exif\0\0" + bytes(300)},
}


@pytest.fixture(params=["_simplejpeg", "_torchvision"], autouse=True)
def decoder(request, monkeypatch):
    """One fast decoder after the other."""
    if request.param == "_simplejpeg":
        pytest.importorskip("simplejpeg")
    made = getattr(jpeg, request.param)()
    monkeypatch.setattr(jpeg, "_decoder", lambda: made)


def written(size, mode, seed=0, **options):
    """The bytes of a JPEG of smooth noise."""
    noise = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8))
    file = io.BytesIO()
    noise.resize(size, Image.Resampling.BICUBIC).convert(mode).save(file, "JPEG", **options)
    return file.getvalue()


def by_pillow(data, colour):
    """What Pillow makes of it; None where it refuses."""
    try:
        return datum._decode_image(data, colour)
    except DataError:
        return None


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_pixels_are_those_of_pillow(form, mode):
    """Colour and grey JPEGs of every usual form, as they are, in BGR and as their stored luma: equal to the pixel."""
    for size in SIZES:
        data = written(size, mode, **FORMS[form])
        for colour in (None, True, False):
            np.testing.assert_array_equal(decode_jpeg(data, colour, PIXEL_LIMIT), by_pillow(data, colour))


@pytest.mark.parametrize("mode", ["CMYK", "PNG"])
def test_pillow_gets_what_is_left(mode):
    """What is no JPEG of 1 or 3 channels is none of theirs, and decodes all the same."""
    data = written((9, 5), "CMYK")
    if mode == "PNG":
        file = io.BytesIO()
        Image.new("RGB", (9, 5)).save(file, "PNG")
        data = file.getvalue()
    assert decode_jpeg(data, True, PIXEL_LIMIT) is None
    assert decode(encoded_datum(data, 0), True).shape == (3, 5, 9)


def claiming(data, width, height):
    """The JPEG with another size in its header."""
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + data[at + 4 :]


def test_bombs_are_refused_by_their_header(monkeypatch):
    """A header that claims more pixels than the limit is refused before a decoder sees the file."""
    bomb = claiming(written((64, 64), "RGB"), 9000, 9000)
    seen = []
    monkeypatch.setattr(jpeg, "_decoder", lambda: lambda data, colour: seen.append(data))
    with pytest.raises(DataError, match="9000x9000 pixels are more than the limit"):
        decode(encoded_datum(bomb, 0))
    assert seen == []


def damaged(data, random):
    """The file cut, or with some bytes changed."""
    if random.random() < 0.3:
        return data[: random.randrange(len(data))]
    changed = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 4))):
        changed[random.randrange(len(data))] = random.randrange(256)
    return bytes(changed)


def test_damaged_files_decode_alike_or_not_at_all():
    """Of a damaged file come the pixels that Pillow makes of it, or it is left to Pillow, which may refuse it."""
    files = [written((24, 17), mode, **form) for mode in ("RGB", "L") for form in FORMS.values()]
    numbers, decoded = random.Random(0), 0
    for _ in range(600):
        data = damaged(numbers.choice(files), numbers)
        fast, slow = decode_jpeg(data, None, PIXEL_LIMIT), by_pillow(data, None)
        if fast is not None and slow is not None:
            np.testing.assert_array_equal(fast, slow)
            decoded += 1
    assert decoded > 100


def test_without_any_of_them_pillow_decodes(monkeypatch):
    """Where no fast decoder is installed a JPEG decodes all the same."""
    data = written((8, 8), "RGB")
    fast = decode(encoded_datum(data, 0))
    monkeypatch.setattr(jpeg, "_decoder", lambda: None)
    np.testing.assert_array_equal(decode(encoded_datum(data, 0)), fast)


def test_the_first_decoder_there_is_taken(monkeypatch):
    """simplejpeg where it is, else torchvision, else none."""

    def missing():
        raise ImportError

    choose = jpeg.choose_decoder
    monkeypatch.setattr(jpeg, "_torchvision", lambda: "torchvision")
    monkeypatch.setattr(jpeg, "_simplejpeg", lambda: "simplejpeg")
    assert choose() == "simplejpeg"
    monkeypatch.setattr(jpeg, "_simplejpeg", missing)
    assert choose() == "torchvision"
    monkeypatch.setattr(jpeg, "_torchvision", missing)
    assert choose() is None
