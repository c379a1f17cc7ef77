"""What an LMDB and a LevelDB of Datums have in common: records by index, in the order of their keys."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError

from netspec.data.datum import Pixels, decode
from netspec.data.labels import Label
from netspec.errors import DataError
from netspec.schema.netspec_pb2 import Datum


class DatumStore(ABC):
    """A read-only database of Datums. May be read from any thread."""

    labels = None  # they lie in the records

    def __init__(self, path: Path, files: Sequence[Path]) -> None:
        """The records lie in `files`; `identity` is a text that changes when one of them does."""
        self.path, self.files = path, files
        states = ((file.name, file.stat()) for file in files)
        parts = (f"{name} {state.st_size} {state.st_mtime_ns}" for name, state in states)
        self.identity = " ".join((str(path.resolve()), *parts))

    @property
    @abstractmethod
    def keys(self) -> list[bytes]:
        """Every record's key, in order."""

    @abstractmethod
    def _value(self, key: bytes) -> bytes:
        """What is stored under a key; DataError where it cannot be read."""

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def label_shape(self) -> tuple[int, ...]:
        """The shape of a record's label: () for one number, (K,) where the first Datum has a vector of K labels."""
        for index in range(len(self)):
            with suppress(DataError):  # what is no Datum is found when it is read
                count = len(self.read(index).labels)
                return (count,) if count > 1 else ()
        return ()

    @cached_property
    def digest(self) -> str:
        """A text that changes with the keys and their order."""
        return hashlib.sha256(b"\0".join(self.keys)).hexdigest()

    def read(self, index: int) -> Datum:
        """The Datum of the record `index`."""
        value = self._value(self.keys[index])
        try:
            return Datum.FromString(value)
        except DecodeError:
            raise DataError(f"{self.where(index)} is no Datum ({len(value)} bytes)") from None

    def image(self, index: int, colour: bool | None = None) -> tuple[Pixels, Label]:
        """The image of the record `index`, as `decode` makes it, and its label or labels."""
        datum = self.read(index)
        try:
            return decode(datum, colour), self._label(datum)
        except DataError as error:
            raise DataError(f"{self.where(index)}: {error}") from None

    def where(self, index: int) -> str:
        """How messages name a record: path, index and key."""
        return f"{self.path}: record {index} (key '{self.key(index)}')"

    def key(self, index: int) -> str:
        """The key of a record as text."""
        return self.keys[index].decode(errors="replace")

    def _label(self, datum: Datum) -> Label:
        """The label of a Datum, or its vector of labels, of which one alone counts as the label."""
        labels = datum.labels
        if (len(labels),) * (len(labels) > 1) != self.label_shape:
            wanted = self.label_shape[0] if self.label_shape else 1
            raise DataError(f"the record has {max(len(labels), 1)} labels, the first one has {wanted}")
        if self.label_shape:
            return np.array(labels, np.float64)
        return labels[0] if labels else datum.label
