"""The ImageData layer: image files and their labels, named by a text file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from netspec.data.datum import Pixels, decode, encoded_datum
from netspec.data.feed import Feed
from netspec.data.images import stored_images
from netspec.data.labels import Labels
from netspec.data.list_file import read_lines
from netspec.data.records import Records
from netspec.data.resize import resize
from netspec.errors import DataError
from netspec.layers.base import LayerError
from netspec.layers.sources import SourceContext, source
from netspec.schema.netspec_pb2 import ImageDataParameter, LayerParameter

_FIELD = "image_data_param"


class ImageFiles:
    """The image files that a list names. As in Caffe `root_folder` stands before each name as it is, without a slash
    of its own. With `keep` each file's bytes stay in memory. Errors are DataErrors."""

    def __init__(self, root_folder: str, find: Callable[[str], Path], keep: bool = False) -> None:
        self._root, self._find = root_folder, find
        self._kept: dict[str, bytes] | None = {} if keep else None

    def read(self, name: str, colour: bool | None) -> Pixels:
        """The pixels (C, H, W) of a file, BGR or grey as `colour` says."""
        return decode(encoded_datum(self._bytes(self._root + name), 0), colour)

    def _bytes(self, name: str) -> bytes:
        if self._kept is not None and name in self._kept:
            return self._kept[name]
        try:
            content = self._find(name).read_bytes()
        except LayerError as error:
            raise DataError(error.reason) from None
        except OSError as error:
            raise DataError(f"{name} cannot be read: {error.strerror}") from None
        if self._kept is not None:
            self._kept[name] = content
        return content


class ImageList:
    """A list file, "path label" a line, as a store of images. The label, which may be a fraction, follows the last
    space. With a size (height, width) every image is resized to it."""

    identity = None  # a file of the list may change unseen

    def __init__(self, path: Path, files: ImageFiles, size: tuple[int, int] | None) -> None:
        self.path = path
        self._files, self._size = files, size
        entries = [_entry(path, number, line) for number, line in read_lines(path)]
        self._numbers, self._names = [entry[0] for entry in entries], [entry[1] for entry in entries]
        self.labels: Labels = np.array([entry[2] for entry in entries])

    def __len__(self) -> int:
        return len(self._names)

    def image(self, index: int, colour: bool | None = None) -> tuple[Pixels, float]:
        """The image of a line and its label."""
        try:
            pixels = self._files.read(self._names[index], colour)
        except DataError as error:
            raise DataError(f"{self.where(index)}: {error}") from None
        return resize(pixels, *self._size) if self._size else pixels, float(self.labels[index])

    def where(self, index: int) -> str:
        """How messages name an image: list file, line, image file."""
        return f"{self.path}: line {self._numbers[index]} ({self._names[index]})"


@source("ImageData")
class ImageData(Feed):
    """(pixel - mean) * scale of the image files that the text file `source` names, "path label" a line.

    Tops: images (N, C, H, W), BGR, or one channel with `is_color: false`; labels (N). `new_height` and `new_width`
    resize as cv2 does, bilinear without antialias; without them all images must have one size, or be cropped to one.
    Unlike in torchvision the resizing keeps no aspect. A label may be a fraction, which Caffe would cut off.
    """

    def __init__(self, param: LayerParameter, context: SourceContext) -> None:
        images = param.image_data_param
        _refuse(images)
        size = (images.new_height, images.new_width) if images.new_height else None
        store = ImageList(context.find(images.source), ImageFiles(images.root_folder, context.find), size)
        batches = stored_images(Records(store, images.is_color), param, images, context)
        super().__init__(batches, param.data_param.prefetch)


def _refuse(images: ImageDataParameter) -> None:
    if not images.source:
        raise LayerError('source is missing: a text file, "path label" a line', _FIELD, "source")
    if not images.batch_size:
        raise LayerError("batch_size must be at least 1", _FIELD, "batch_size")
    if (images.new_height > 0) != (images.new_width > 0):
        given = "new_height" if images.new_height else "new_width"
        raise LayerError("give new_height and new_width, or neither", _FIELD, given)


def _entry(path: Path, number: int, line: str) -> tuple[int, str, float]:
    name, _, label = line.rpartition(" ")
    try:
        return number, name, _finite(name, label)
    except ValueError:
        raise DataError(f'{path}: line {number} is not "path label": {line[:80]}') from None


def _finite(name: str, label: str) -> float:
    number = float(label)
    if not name or not np.isfinite(number):
        raise ValueError
    return number
