"""MNIST (LeCun, Cortes and Burges 1998): 70,000 handwritten digits, grey, 28x28 pixels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from netspec.data.archive import members
from netspec.data.datum import Pixels, raw_datum
from netspec.data.download import Remote, download
from netspec.data.form import Record
from netspec.data.made_set import Split, Splits, make_set
from netspec.errors import DataError

_ADDRESSES = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/")
_MD5 = {
    "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
}
REMOTES = [Remote(f"{name}.gz", [f"{at}{name}.gz" for at in _ADDRESSES], md5) for name, md5 in _MD5.items()]
SPLITS = {"train": "train", "test": "t10k"}

_UINT8 = 8  # the code of the element type in the header
_SIZE = (28, 28)
_CLASSES = 10


def make(out: Path, sources: Sequence[Path] = (), force: bool = False) -> str:
    """Write the set into the folder `out`, in the order of its files, and return a line on what was written.

    `sources` are the four files, packed (.gz) or not, or folders or archives that hold them; none means download. As
    `make_set`. Raises DataError.
    """
    return make_set(out, list(SPLITS), lambda folder: _splits(sources or _downloaded(folder)), force)


def _downloaded(folder: Path) -> list[Path]:
    return [download(remote, folder) for remote in REMOTES]


def _splits(sources: Sequence[Path]) -> Splits:
    wanted = [*_MD5, *(remote.name for remote in REMOTES)]
    files = {PurePosixPath(name).name.removesuffix(".gz"): data for name, data in members(sources, wanted)}
    if missing := [name for name in _MD5 if name not in files]:
        raise DataError(f"the sources hold no {missing[0]} ({len(missing)} of the 4 files are missing)")
    splits = {}
    for split, prefix in SPLITS.items():
        images = _array(f"{prefix}-images-idx3-ubyte", files, 3)
        labels = _array(f"{prefix}-labels-idx1-ubyte", files, 1)
        _hold(prefix, images, labels)
        splits[split] = Split(len(images), _records(images, labels))
    return Splits(splits, [str(digit) for digit in range(_CLASSES)])


def _hold(prefix: str, images: Pixels, labels: Pixels) -> None:
    """DataError where the arrays of a part are not those of digits."""
    if len(images) != len(labels) or not len(images):
        raise DataError(f"{prefix}: {len(images)} images and {len(labels)} labels")
    if images.shape[1:] != _SIZE:
        raise DataError(f"{prefix}: images of {images.shape[1:]} pixels where those of the set have {_SIZE}")
    if labels.max() >= _CLASSES:
        raise DataError(f"{prefix}: an image of class {labels.max()}; the digits are 0 to {_CLASSES - 1}")


def _array(name: str, files: dict[str, bytes], axes: int) -> Pixels:
    """The array in a file of the IDX format: two zeros, element type, number of axes, their sizes, big-endian, data."""
    data = files[name]
    start = 4 + 4 * axes
    shape = tuple(np.frombuffer(data[4:start], ">u4").tolist()) if len(data) >= start else ()
    if data[:4] != bytes((0, 0, _UINT8, axes)) or len(data) - start != math.prod(shape):
        raise DataError(f"{name} is no IDX file of {axes} axes, or it is cut short ({len(data)} bytes)")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def _records(images: Pixels, labels: Pixels) -> Iterator[Record]:
    for image, label in zip(images[:, None], labels.tolist(), strict=True):
        yield Record("", raw_datum(image, label), image)
