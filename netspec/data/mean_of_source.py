"""The mean of a whole set, wherever it lies, and what to write of it in a prototxt."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from netspec.data.convert import records
from netspec.data.datum import Pixels
from netspec.data.datum_store import DatumStore
from netspec.data.form import Form
from netspec.data.image_files import image_files
from netspec.data.leveldb_store import is_leveldb
from netspec.data.mean import MeanImage, write_mean
from netspec.data.open_store import open_store
from netspec.data.records import colour_like
from netspec.errors import DataError
from netspec.files import refuse_unwritable


def mean_report(source: Path, out: Path | None = None, root: str = "", form: Form | None = None) -> str:
    """Write the mean image of a database, a list or a folder of classes, as Caffe's compute_image_mean does, and return
    its lines on the channels' means; with their deviations and what to paste into a transform_param.

    `root` stands before the names of a list; `form` gives files their colour and size: BGR and as they are without it.
    DataError names what cannot be read, or has another size; a database takes neither `root` nor `form`.
    """
    if out is not None:
        refuse_unwritable(out)
    mean = MeanImage()
    for where, image in _images(source, root, form or Form()):
        try:
            mean.add(image)
        except DataError as error:
            raise DataError(f"{where}: {error}") from None
    value = mean.value()
    if out is not None:
        write_mean(out, value)
    means, deviations = mean.channels()
    lines = [f"Number of images: {mean.count}", f"Number of channels: {len(means)}"]
    lines += [f"mean_value channel [{channel}]: {number:.6g}" for channel, number in enumerate(means)]
    lines += [f"std_value channel [{channel}]: {number:.6g}" for channel, number in enumerate(deviations)]
    lines.append("transform_param {")
    lines.append("  " + " ".join(f"mean_value: {number:.6g}" for number in means))
    lines.append("  " + " ".join(f"std_value: {number:.6g}" for number in deviations))
    return "\n".join([*lines, "}"])


def _images(source: Path, root: str, form: Form) -> Iterator[tuple[str, Pixels]]:
    """The images, and how messages name them."""
    if is_leveldb(source) or source.suffix == ".mdb" or (source / "data.mdb").exists():
        if root or form != Form():
            raise DataError(f"{source} is a database: a root, gray and sizes are for lists and folders of image files")
        yield from _stored_images(open_store(source))
    else:
        files = image_files(source, root)
        for _, record in records(tqdm(files, desc="mean", unit="image"), form, check_size=True):
            yield record.name, record.image


def _stored_images(store: DatumStore) -> Iterator[tuple[str, Pixels]]:
    """All images of a store, in colour where the first is, as a Data layer takes them."""
    colour = colour_like(store.image(0)[0])
    for index in tqdm(range(len(store)), desc="mean", unit="image"):
        yield store.where(index), store.image(index, colour)[0]
