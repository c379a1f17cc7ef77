"""The set of digits that comes with netspec (see digits/README.md), copied to a place of the user's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from netspec.data.datum import decode
from netspec.data.form import Record
from netspec.data.lmdb_store import LmdbStore
from netspec.data.made_set import Split, Splits, make_set

PLACE = Path(__file__).parent / "digits"
SPLITS = ("train", "test")


def make(out: Path, force: bool = False) -> str:
    """Copy the set into the folder `out`, and return a line on what was written. As `make_set`. Raises DataError."""
    return f"{make_set(out, SPLITS, lambda _: _splits(), force)} (from {PLACE})"


def _splits() -> Splits:
    stores = {split: LmdbStore(PLACE / f"{split}_lmdb") for split in SPLITS}
    parts = {split: Split(len(store), _records(store)) for split, store in stores.items()}
    return Splits(parts, [str(digit) for digit in range(10)])


def _records(store: LmdbStore) -> Iterator[Record]:
    for index in range(len(store)):
        datum = store.read(index)
        yield Record("", datum, decode(datum))
