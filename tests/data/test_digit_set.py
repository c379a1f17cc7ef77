"""A copy of the digits that come with netspec."""

from netspec.data import digit_set
from netspec.data.lmdb_store import LmdbStore


def test_copies_the_set(tmp_path):
    """The copy has the same keys and Datums, and the line says where the original is."""
    assert str(digit_set.PLACE) in digit_set.make(tmp_path / "out")
    for split, count in (("train", 1500), ("test", 297)):
        copy, original = LmdbStore(tmp_path / "out" / f"{split}_lmdb"), LmdbStore(digit_set.PLACE / f"{split}_lmdb")
        assert copy.keys == original.keys and len(copy) == count
        assert all(copy.read(index) == original.read(index) for index in range(count))
