"""What a label is called: by the labels.txt beside the data, or by the folders of the classes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from netspec.data import class_folder
from netspec.data.made_set import LABELS
from netspec.errors import DataError
from netspec.schema.netspec_pb2 import LayerParameter

_SOURCES = ("data_param", "image_data_param", "hdf5_data_param", "window_data_param")
_WNID = re.compile(r"n\d{8}\s+")
_MOST = 6  # labels of an image that are shown


def class_names(param: LayerParameter, find: Callable[[str], Path]) -> dict[int, str]:
    """The names of a data layer's classes, as far as they are known: in short, without wnid and further names."""
    named = [getattr(param, field).source for field in _SOURCES if param.HasField(field)]
    if not named or not named[0]:
        return {}
    source = find(named[0])
    if param.HasField("image_data_param") and source.is_dir():
        return _folders(source)
    folder = source.parent.parent if source.suffix == ".mdb" else source.absolute().parent
    with suppress(OSError, UnicodeDecodeError):
        lines = (folder / LABELS).read_text("utf-8").splitlines()
        return {label: _WNID.sub("", line).split(",")[0].strip() for label, line in enumerate(lines)}
    return {}


def _folders(source: Path) -> dict[int, str]:
    """The classes of a folder of images, by words.txt in words."""
    try:
        classes = class_folder.class_names(source)
    except DataError:
        return {}
    words = _table(source.absolute().parent / "words.txt")
    return {label: words.get(name, name).split(",")[0] for label, name in enumerate(classes)}


def _table(path: Path) -> dict[str, str]:
    """The first two columns of a text with tabs, where it is there."""
    if not path.is_file():
        return {}
    rows = (line.split("\t") for line in path.read_text("utf-8", "replace").splitlines())
    return {row[0]: row[1] for row in rows if len(row) > 1}


def caption(label: NDArray[np.float32], names: Mapping[int, str], shares: bool) -> str:
    """A label in words: a class with its name; with `shares`, one a class, the two largest; else some numbers."""
    if shares:
        largest = np.argsort(-label, kind="stable")[:2]
        return "\n".join(f"{label[place]:.2f} {_named(int(place), names)}" for place in largest if label[place] > 0)
    if label.ndim == 0 and float(label).is_integer():
        return _named(int(label), names)
    more = " ..." if label.size > _MOST else ""
    return " ".join(f"{number:g}" for number in label.ravel()[:_MOST]) + more


def _named(label: int, names: Mapping[int, str]) -> str:
    return f"{label} {names.get(label, '')}".strip()
