"""The ImageData layer: image files and their labels, named by a text file or by the folders that they lie in."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from netspec.data.class_folder import read_folder
from netspec.data.damage import changed, sound_records
from netspec.data.datum import Pixels, decode, encoded_datum
from netspec.data.feed import Feed
from netspec.data.images import stored_images
from netspec.data.labels import Label
from netspec.data.list_file import Listing, read_listing
from netspec.data.records import Records
from netspec.data.resize import resize
from netspec.data.transform_fields import LARGEST_SIDE
from netspec.errors import DataError
from netspec.layers.base import LayerError
from netspec.layers.sources import Contents, SourceContext, source
from netspec.schema.netspec_pb2 import ImageDataParameter, LayerParameter

_FIELD = "image_data_param"
_NUMBERS = re.compile(r"(?: -?\d+(?:\.\d*)?)+$")
_Read = TypeVar("_Read")


class ImageFiles:
    """The image files that a list names. As in Caffe `root_folder` stands before each name as it is, without a slash
    of its own. With `keep` each file's bytes stay in memory. Errors are DataErrors."""

    def __init__(self, root_folder: str, find: Callable[[str], Path], keep: bool = False) -> None:
        self._root, self._find = root_folder, find
        self._kept: dict[str, bytes] | None = {} if keep else None
        self._folders: dict[str, Path] = {}

    def read(self, name: str, colour: bool | None, state: str = "") -> Pixels:
        """The pixels (C, H, W) of a file, BGR or grey as `colour` says. With the `state` that it was in, a file that is
        in another one by now is refused."""
        try:
            return decode(encoded_datum(self._bytes(self._root + name), 0), colour)
        finally:  # after the read: what it gave may be of another file
            if state and self.state(name) not in (state, ""):
                raise changed(self._root + name)

    def state(self, name: str) -> str:
        """A text that changes when the file does; empty where it cannot be found."""
        try:
            status = self._at(self._root + name, Path.stat)
        except (DataError, OSError):
            return ""
        return f"{status.st_size} {status.st_mtime_ns}"

    def why_missing(self, name: str) -> str:
        """What of the root folder may have been meant otherwise, where a file of this name is not there."""
        lacks_slash = self._root and not self._root.endswith("/") and self._exists(f"{self._root}/{name}")
        return "; root_folder stands before a name as it is: end it with a slash" if lacks_slash else ""

    def _exists(self, name: str) -> bool:
        try:
            return self._find(name).is_file()
        except LayerError:
            return False

    def _bytes(self, name: str) -> bytes:
        if self._kept is not None and name in self._kept:
            return self._kept[name]
        try:
            content = self._at(name, Path.read_bytes)
        except OSError as error:
            raise DataError(f"{name} cannot be read: {error.strerror}") from None
        if self._kept is not None:
            self._kept[name] = content
        return content

    def _at(self, name: str, read: Callable[[Path], _Read]) -> _Read:
        """What `read` makes of the place of a file. To find each file of a large list would take longer than to read
        it, so its folder is found, once."""
        folder, slash, file = name.rpartition("/")
        if folder not in self._folders:
            try:
                self._folders[folder] = self._find(folder + slash)
            except LayerError:
                self._folders[folder] = Path(folder + slash)
        try:
            return read(self._folders[folder] / file)
        except FileNotFoundError:
            try:
                return read(self._find(name))
            except LayerError as error:
                raise DataError(error.reason) from None


class ListedImages:
    """The images of a listing as a store. With a size (height, width) every image is resized to it."""

    def __init__(self, listing: Listing, files: ImageFiles, size: tuple[int, int] | None) -> None:
        self.path, self.labels, self.where = listing.path, listing.labels, listing.where
        self.label_shape = self.labels.shape[1:]
        self.classes, self._names, self._files, self._size = listing.classes, listing.names, files, size
        self._states = [files.state(name) for name in listing.names]

    def __len__(self) -> int:
        return len(self._names)

    def key(self, index: int) -> str:
        """The name of a file as the list has it, or below the folder."""
        return self._names[index]

    def refuse_missing(self) -> None:
        """DataError where files are not there, so that no run ends for them later."""
        missing = [index for index, state in enumerate(self._states) if not state]
        try:
            if missing:
                self.image(missing[0])
        except DataError as error:
            hint = self._why_missing(self._names[missing[0]])
            raise DataError(f"{error} ({len(missing)} of {len(self)} files are missing){hint}") from None

    def _why_missing(self, name: str) -> str:
        """What in the list may have been meant otherwise, where a file of this name is not there."""
        if name.endswith(tuple(",;\t")):
            return "; a label comes after a space alone"
        if (numbers := _NUMBERS.search(name)) is not None:
            count = len(numbers[0].split()) + (self.label_shape or (1,))[0]
            return f"; where a line ends with {count} labels, write labels: {count}"
        return self._files.why_missing(name)

    @cached_property
    def identity(self) -> str:
        """A text that changes when the listing or one of its files does."""
        return f"{self.path.resolve()} {self._size} {self._digest(self._states)}"

    @cached_property
    def digest(self) -> str:
        """A text that changes with the names, their order, the labels and the sizes of the files."""
        return self._digest(state.partition(" ")[0] for state in self._states)

    def _digest(self, states: Iterable[str]) -> str:
        files = "\0".join(f"{name} {state}" for name, state in zip(self._names, states, strict=True))
        return hashlib.sha256(self.labels.tobytes() + os.fsencode(files)).hexdigest()

    def image(self, index: int, colour: bool | None = None) -> tuple[Pixels, Label]:
        """The image of a place in the listing, and its label or labels (K,). DataError also where the file is another
        one than at the start."""
        try:
            pixels = self._files.read(self._names[index], colour, self._states[index])
        except DataError as error:
            raise type(error)(f"{self.where(index)}: {error}") from None
        return resize(pixels, *self._size) if self._size else pixels, self.labels[index]


@source("ImageData")
class ImageData(Feed):
    """(pixel - mean) * scale of image files: those that the text file `source` names, "path label" a line, or those of
    the folder `source`, which holds one folder for each class.

    Tops: images (N, C, H, W), BGR, or one channel with `is_color: false`; labels (N), or (N, K) with `labels: K`,
    which may be left out. `new_height` and `new_width` resize as cv2 does, bilinear without antialias; without them
    all images must have one size, or be cropped to one. Unlike in torchvision the resizing keeps no aspect. A label may
    be a fraction, which Caffe would cut off.

    Classes of a folder count from 0 in the order of their names, as in torchvision's ImageFolder, or of the wnids.txt
    beside the folder, as in the LMDBs of Tiny ImageNet; its train, val (labels in val_annotations.txt) and test (no
    labels) are read as they are. Images come class after class: to learn from them, `shuffle`.
    """

    def __init__(self, param: LayerParameter, context: SourceContext) -> None:
        images = param.image_data_param
        _refuse(param)
        self._store = store = _store(images, context)
        if store.label_shape == (0,) and len(param.top) == 2:
            raise LayerError(f"the images of {store.path} have no labels: leave out the second top", "top")
        if not images.skip_damaged:
            store.refuse_missing()
        records = Records(sound_records(store, images.is_color, images.skip_damaged), images.is_color, images.cache)
        if images.rand_skip > len(records):  # Caffe stops where it draws one beyond them
            reason = f"rand_skip {images.rand_skip} is more than the {len(records)} images of {store.path}"
            raise LayerError(reason, _FIELD, "rand_skip")
        batches = stored_images(records, param, images, context)
        super().__init__(batches, param.data_param.prefetch, context, [store.path])
        self.shapes = self.shapes[: len(param.top)]

    @property
    def contents(self) -> Contents:
        """What the list or folder holds, known by names, labels and sizes."""
        return Contents(self._store.path, self._store.digest, self._store.classes)


def _refuse(param: LayerParameter) -> None:
    images = param.image_data_param
    if len(param.top) not in (1, 2):
        raise LayerError(f"an ImageData layer has 1 or 2 tops (images, labels), not {len(param.top)}", "top")
    if not images.source:
        raise LayerError('source is missing: a text file, "path label" a line, or a folder', _FIELD, "source")
    if not images.batch_size:
        raise LayerError("batch_size must be at least 1", _FIELD, "batch_size")
    if (images.new_height > 0) != (images.new_width > 0):
        given = "new_height" if images.new_height else "new_width"
        raise LayerError("give new_height and new_width, or neither", _FIELD, given)
    for name in ("new_height", "new_width"):
        if (side := getattr(images, name)) > LARGEST_SIDE:
            raise LayerError(f"{name} is at most {LARGEST_SIDE}, not {side}", _FIELD, name)


def _store(images: ImageDataParameter, context: SourceContext) -> ListedImages:
    path = context.find(images.source)
    size = (images.new_height, images.new_width) if images.new_height else None
    if not path.is_dir():
        return ListedImages(read_listing(path, images.labels), ImageFiles(images.root_folder, context.find), size)
    for field in ("labels", "root_folder"):
        if images.HasField(field):
            raise LayerError(f"{field} is for lists; source is the folder {path}", _FIELD, field)
    return ListedImages(read_folder(path), ImageFiles(f"{path}/", Path), size)
