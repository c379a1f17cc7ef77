"""An image on its way into a store: in colour or grey, of one size, as raw pixels or as an image file."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from netspec.data.datum import COLOUR_MODES, FORMATS, GREY_MODES, Pixels, decode, encoded_datum, pillow_image, raw_datum
from netspec.data.resize import resize
from netspec.data.transform_fields import LARGEST_SIDE
from netspec.errors import DataError
from netspec.schema.netspec_pb2 import Datum

_JPEG_QUALITY = 95  # what OpenCV, and so Caffe, writes

SAME = "the file's own"
"""As `Form.encoding`: the kind of file that the image came in."""


@dataclass(frozen=True)
class Record:
    """What a store keeps of an image, and its pixels (C, H, W). `name` is the part of the key after the number."""

    name: str
    datum: Datum
    image: Pixels


@dataclass(frozen=True)
class Form:
    """How images are stored: in colour or grey; of one size (height, width), or each of its own; as files of the kind
    `encoding` ("JPEG", "PNG" or SAME), or raw without it. A file of one of the kinds `kept` that has the right colour
    and is not resized is stored byte for byte."""

    colour: bool = True
    size: tuple[int, int] | None = None
    encoding: str | None = None
    kept: Sequence[str] = ()

    def __post_init__(self) -> None:
        """DataError where no image can have the size."""
        if self.size and not 1 <= min(self.size) <= max(self.size) <= LARGEST_SIDE:
            height, width = self.size
            raise DataError(f"images can be resized to 1 to {LARGEST_SIDE} pixels a side, not to {height}x{width}")


KEEP = Form(encoding="PNG", kept=FORMATS)
"""Colour files as they are; what must change loses nothing."""


def caffe_form(gray: bool, height: int, width: int, encoded: bool = False, kind: str | None = None) -> Form:
    """The form that the flags of Caffe's convert_imageset ask for: a `kind` ("jpg", "png") means encoded, sizes of 0
    that images stay as they are. DataError where one of them alone is 0, or one is no size."""
    if (height == 0) != (width == 0):
        raise DataError("give resize_height and resize_width, or neither")
    encoding = {"jpg": "JPEG", "png": "PNG", None: SAME if encoded else None}[kind]
    kept = FORMATS if encoding == SAME else (encoding,) if encoding else ()
    return Form(not gray, (height, width) if height else None, encoding, kept)


def record(name: str, data: bytes, labels: int | Sequence[float], form: Form) -> Record:
    """An image file's bytes in a form. A whole number becomes the Datum's `label`, a sequence its `labels`, which Caffe
    has not. DataError, without the name, where the bytes are no image."""
    image = decode(encoded_datum(data, 0), form.colour)
    if form.size:
        image = resize(image, *form.size)
    datum = _stored(image, data, form)
    if isinstance(labels, int):
        datum.label = labels
    else:
        datum.labels.extend(labels)
    return Record(name, datum, image)


def _stored(image: Pixels, data: bytes, form: Form) -> Datum:
    if form.encoding is None:
        return raw_datum(image)
    with Image.open(io.BytesIO(data), formats=FORMATS) as file:
        kind, mode = str(file.format), file.mode
    if kind in form.kept and form.size is None and mode in (COLOUR_MODES if form.colour else GREY_MODES):
        return Datum(data=data, encoded=True)
    return Datum(data=encode(image, _writable(kind) if form.encoding == SAME else form.encoding), encoded=True)


def _writable(kind: str) -> str:
    return "JPEG" if kind == "JPEG" else "PNG"


def encode(image: Pixels, kind: str) -> bytes:
    """The file, JPEG or PNG, of an image (C, H, W), BGR or grey."""
    file = io.BytesIO()
    pillow_image(image).save(file, kind, quality=_JPEG_QUALITY)
    return file.getvalue()


def key(number: int, name: str) -> bytes:
    """A record's key as Caffe's convert_imageset writes it; DataError where it is longer than an LMDB takes."""
    text = f"{number:08d}_{name}".encode(errors="surrogateescape") if name else b"%08d" % number
    if len(text) > 511:
        raise DataError(f"{name[:80]}...: the name is too long for a key, {len(text)} of at most 511 bytes")
    return text
