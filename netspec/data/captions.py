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

WNID = re.compile(r"n\d{8}\b")
"""What the name of a class of ImageNet's may begin with."""

_WNID_BEFORE_WORDS = re.compile(WNID.pattern + r"\s+(?=\S)")

_MOST = 6  # labels of an image that are shown


def class_names(param: LayerParameter, find: Callable[[str], Path]) -> dict[int, str]:
    """The names of a data layer's classes, as far as they are known: in short, without wnid and further names."""
    named = [getattr(param, field).source for field in _SOURCES if param.HasField(field)]
    if not named or not named[0]:
        return {}
    with suppress(DataError):
        return {label: in_short(words or name) for label, (name, words) in enumerate(_names_at(find(named[0])))}
    return {}


def lines_at(source: Path) -> tuple[str, ...]:
    """The names that lie with a set, each a line such as "n02123045 tabby, tabby cat": the classes of a folder of
    images, in words by the words.txt beside it; else the labels.txt beside a database or a list; else none. DataError
    where the classes of a folder have no numbers."""
    return tuple(f"{name} {words}".strip() for name, words in _names_at(source))


def _names_at(source: Path) -> list[tuple[str, str]]:
    """The name of each class and what it means in words, either of which may be empty."""
    if source.is_dir() and (classes := class_folder.class_names(source)):
        table = _table(source.absolute().parent / "words.txt")
        return [(name, table.get(name, "")) for name in classes]
    folder = source.absolute().parent
    with suppress(OSError, UnicodeDecodeError):
        lines = (folder.parent if source.suffix == ".mdb" else folder).joinpath(LABELS).read_text("utf-8").splitlines()
        return [("", line.strip()) for line in lines]
    return []


def in_short(line: str) -> str:
    """A name without wnid, where words follow it, and without further names."""
    return _WNID_BEFORE_WORDS.sub("", line).split(",")[0].strip()


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
