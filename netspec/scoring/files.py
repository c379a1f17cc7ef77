"""Image files as a set, each read as it is scored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from netspec.data.copies import Copies
from netspec.data.datum import Pixels
from netspec.data.feed import Feed
from netspec.data.image_list import ImageFiles, ListedImages
from netspec.data.images import ImageBatches, means_of
from netspec.data.labels import LabelRule, Labels
from netspec.data.list_file import Listing
from netspec.data.order import Indices, Order
from netspec.errors import DataError
from netspec.layers.sources import SourceContext
from netspec.schema.netspec_pb2 import LayerParameter


class FileSet:
    """Image files, BGR or grey, resized to `size` (height, width) where it is given; without labels. DataError where
    one is not there."""

    label_shape: tuple[int, ...] = (0,)

    def __init__(self, paths: Sequence[str], colour: bool, size: tuple[int, int] | None) -> None:
        if missing := [path for path in paths if not Path(path).is_file()]:
            raise DataError(f"{missing[0]}: there is no such image")
        self._paths, self._colour = list(paths), colour
        listing = Listing(Path(), self._paths, np.empty((len(paths), 0)))
        self._images = ListedImages(listing, ImageFiles("", Path), size)
        self.shape: tuple[int, ...] = self._image(0).shape

    def __len__(self) -> int:
        return len(self._paths)

    def fetch(self, indices: Indices) -> tuple[Pixels | list[Pixels], Labels]:
        """Some images, a list where their sizes differ."""
        images = [self._image(index) for index in indices.tolist()]
        alike = len({image.shape for image in images}) == 1
        return np.stack(images) if alike else images, np.empty((len(images), 0))

    def where(self, index: int) -> str:
        """How messages name an image."""
        return self._paths[index]

    def keys(self) -> list[str]:
        """The paths."""
        return self._paths

    def check_labels(self, rule: LabelRule) -> None:
        """There are none."""

    def _image(self, index: int) -> Pixels:
        return self._images.image(index, self._colour)[0]


def files_source(
    paths: Sequence[str], param: LayerParameter, find: Callable[[str], Path], context: SourceContext
) -> Feed:
    """The files as a source, prepared as an ImageData layer's message says. LayerError, DataError."""
    images, transform = param.image_data_param, param.transform_param
    size = (images.new_height, images.new_width) if images.new_height else None
    files = FileSet(paths, images.is_color and not transform.force_gray, size)
    copies = Copies(transform, context.phase, files.shape, context.seed, means_of(param, find))
    batches = ImageBatches(files, copies, Order(len(files)), images.batch_size, context.seed, context.device)
    feed = Feed(batches, param.data_param.prefetch, context)
    feed.shapes = feed.shapes[:1]
    return feed
