"""What is stored of an image file."""

import io

import numpy as np
import pytest
from PIL import Image

from netspec.data.datum import FORMATS, Datum, decode
from netspec.data.form import KEEP, SAME, Form, caffe_form, key, record
from netspec.data.resize import resize
from netspec.errors import DataError


@pytest.mark.parametrize(
    ("arguments", "form"),
    [
        ((False, 0, 0), Form()),
        ((True, 0, 0), Form(colour=False)),
        ((False, 4, 6), Form(size=(4, 6))),
        ((False, 0, 0, True), Form(encoding=SAME, kept=FORMATS)),
        ((False, 0, 0, False, "jpg"), Form(encoding="JPEG", kept=("JPEG",))),
        ((False, 0, 0, True, "png"), Form(encoding="PNG", kept=("PNG",))),
    ],
)
def test_the_flags_of_caffe(arguments, form):
    """Each flag of convert_imageset has its place in a form; a kind of file means encoded."""
    assert caffe_form(*arguments) == form


@pytest.mark.parametrize("size", [(0, 6), (4, 0)])
def test_one_side_alone_is_refused(size):
    """A height without a width is refused, where Caffe would not resize."""
    with pytest.raises(DataError, match="resize_height and resize_width, or neither"):
        caffe_form(False, *size)


@pytest.mark.parametrize("make", [lambda size: caffe_form(False, *size), lambda size: Form(size=size)])
@pytest.mark.parametrize("size", [(-3, -4), (-3, 4), (4, 16385)])
def test_a_size_of_no_image_is_refused(size, make):
    """A side below 1 pixel, or beyond any use, is refused."""
    with pytest.raises(DataError, match=f"to 1 to 16384 pixels a side, not to {size[0]}x{size[1]}"):
        make(size)


def test_a_raw_datum_has_every_field_of_caffe(pixels, encode):
    """Raw pixels are stored with sizes, label and `encoded`, which Caffe writes though it is false."""
    image = pixels(1, 3, 4, 6)[0]
    stored = record("x", encode(image), 7, Form())
    wanted = Datum(channels=3, height=4, width=6, data=image.tobytes(), label=7)
    wanted.encoded = False
    assert stored.datum.SerializeToString() == wanted.SerializeToString()
    np.testing.assert_array_equal(stored.image, image)


@pytest.mark.parametrize(
    ("channels", "kind", "form", "stays"),
    [
        (3, "JPEG", KEEP, True),
        (3, "PNG", KEEP, True),
        (3, "BMP", KEEP, True),
        (1, "JPEG", KEEP, False),
        (3, "JPEG", Form(False, None, "PNG", FORMATS), False),
        (3, "JPEG", Form(True, (5, 5), "PNG", FORMATS), False),
        (3, "JPEG", Form(True, None, "JPEG", ("JPEG",)), True),
        (3, "PNG", Form(True, None, "JPEG", ("JPEG",)), False),
        (3, "PNG", Form(True, None, SAME, FORMATS), True),
        (1, "PNG", Form(False, None, SAME, FORMATS), True),
    ],
)
def test_a_file_stays_byte_for_byte(channels, kind, form, stays, pixels, encode):
    """A file of a kind that is kept, of the right colour, not resized, is stored as it is; others anew, in colour or
    grey as asked."""
    data = encode(pixels(1, channels, 8, 8)[0], kind)
    stored = record("x", data, 0, form)
    assert (stored.datum.data == data) == stays
    assert stored.datum.encoded
    assert decode(stored.datum).shape == stored.image.shape == (3 if form.colour else 1, *(form.size or (8, 8)))
    if form.encoding == "PNG":
        np.testing.assert_array_equal(decode(stored.datum), stored.image)


@pytest.mark.parametrize(("kind", "anew"), [("JPEG", "JPEG"), ("PNG", "PNG"), ("BMP", "PNG")])
def test_a_changed_file_keeps_its_kind(kind, anew, pixels, encode):
    """What is resized is encoded as the file was; a BMP becomes a PNG, which loses nothing either."""
    image = pixels(1, 3, 8, 8)[0]
    stored = record("x", encode(image, kind), 0, Form(True, (4, 4), SAME, FORMATS))
    assert Image.open(io.BytesIO(stored.datum.data)).format == anew
    if kind != "JPEG":
        np.testing.assert_array_equal(decode(stored.datum), resize(image, 4, 4))


def test_several_labels(pixels, encode):
    """A sequence of labels is stored beside no label."""
    datum = record("x", encode(pixels(1, 1, 2, 2)[0]), (0.5, 2), Form()).datum
    assert list(datum.labels) == [0.5, 2] and not datum.HasField("label")


def test_an_alpha_channel_is_dropped(pixels):
    """A file with an alpha channel is stored without it, since a net would stop at four channels."""
    file = io.BytesIO()
    Image.fromarray(pixels(1, 5, 5, 4)[0], "RGBA").save(file, "PNG")
    assert decode(record("x", file.getvalue(), 0, KEEP).datum).shape == (3, 5, 5)


def test_keys():
    """A key is the place in eight digits, and the name after it; one that no LMDB takes is refused."""
    assert key(7, "a/b c.jpg") == b"00000007_a/b c.jpg"
    assert key(123456789, "") == b"123456789"
    with pytest.raises(DataError, match="too long for a key, 512 of at most 511 bytes"):
        key(0, "x" * 503)
