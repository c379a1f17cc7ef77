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
from netspec.data.leveldb_store import LevelDbStore, is_leveldb
from netspec.data.lmdb_store import LmdbStore
from netspec.data.mean import MeanImage, write_mean
from netspec.errors import DataError


def mean_report(source: Path, out: Path | None = None, root: str = "", form: Form | None = None) -> str:
    """Write the mean image of a database, a list or a folder of classes, as Caffe's compute_image_mean does, and return
    its lines on the channels' means; with their deviations and what to paste into a transform_param.

    `root` stands before the names of a list; `form` gives files their colour and size: BGR and as they are without it.
    DataError names what cannot be read, or has another size.
    """
    mean = MeanImage()
    for image in _images(source, root, form or Form()):
        mean.add(image)
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


def _images(source: Path, root: str, form: Form) -> Iterator[Pixels]:
    if is_leveldb(source) or source.suffix == ".mdb" or (source / "data.mdb").exists():
        yield from _stored_images(_store(source))
    else:
        files = image_files(source, root)
        for _, record in records(tqdm(files, desc="mean", unit="image"), form, check_size=True):
            yield record.image


def _store(source: Path) -> DatumStore:
    if not is_leveldb(source):
        return LmdbStore(source)
    try:
        return LevelDbStore(source)
    except ImportError:
        raise DataError(f"{source}: reading a LevelDB needs plyvel: pip install 'netspec[leveldb]'") from None


def _stored_images(store: DatumStore) -> Iterator[Pixels]:
    """All images of a store, in colour where the first is, as a Data layer takes them."""
    colour = True if len(store.image(0)[0]) == 3 else None
    for index in tqdm(range(len(store)), desc="mean", unit="image"):
        yield store.image(index, colour)[0]
