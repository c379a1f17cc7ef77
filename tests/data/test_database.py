"""The Data layer over both kinds of database, and records with several labels."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from netspec.data.datum import Datum, encoded_datum, raw_datum
from netspec.data.leveldb_store import LevelDbStore
from netspec.data.lmdb_store import write_lmdb
from netspec.errors import DataError
from netspec.layers.base import LayerError

plyvel = pytest.importorskip("plyvel")

TABLES = {"write_buffer_size": 1 << 16}
"""So that 50 images lie in several tables, and a log."""


def text(path, fields="", transform=""):
    return (
        f'type: "Data" top: "data" top: "label" data_param {{ source: "{path}" batch_size: 3 {fields} }} '
        f"transform_param {{ {transform} }}"
    )


@pytest.fixture
def leveldb_of(tmp_path):
    """Write Datums, or images labelled 0, 1, 2..., as a LevelDB and return its path."""

    def leveldb_of(records, name="leveldb", **options):
        with plyvel.DB(str(tmp_path / name), create_if_missing=True, **options) as database:
            for label, record in enumerate(records):
                datum = record if isinstance(record, Datum) else raw_datum(record, label)
                database.put(b"%08d" % label, datum.SerializeToString())
        return tmp_path / name

    return leveldb_of


def files(path):
    return {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in path.iterdir()}


@pytest.mark.parametrize("backend", ["", "backend: LEVELDB"])
def test_a_leveldb_gives_what_an_lmdb_gives(backend, opened, leveldb_of, store_of, pixels):
    """Batches, also shuffled ones, are those of an LMDB with the same records, to the bit."""
    images = pixels(50, 3, 60, 40)
    lmdb, leveldb = store_of(images), leveldb_of(images, **TABLES)
    for fields in ("", "shuffle: true", "rand_skip: 9 cache: OFF"):
        one, other = opened(text(lmdb, fields), seed=3), opened(text(leveldb, f"{fields} {backend}"), seed=3)
        assert one.epoch_size == other.epoch_size == 50
        for _ in range(20):
            assert all(torch.equal(a, b) for a, b in zip(one.next(), other.next(), strict=True))


def test_encoded_images(opened, leveldb_of, pixels, encode):
    """Image files in a LevelDB are decoded, and force_gray makes them grey."""
    images = pixels(3, 3, 6, 7)
    path = leveldb_of([encoded_datum(encode(image), 7) for image in images])
    data, label = opened(text(path)).next()
    np.testing.assert_array_equal(data.numpy(), images)
    assert label.tolist() == [7, 7, 7]
    assert opened(text(path, transform="force_gray: true")).next()[0].shape == (3, 1, 6, 7)


def test_a_leveldb_stays_as_it_is(leveldb_of, pixels, tmp_path):
    """Opening and reading it, twice at once, changes no file of it, and leaves none elsewhere once the stores go."""
    path = leveldb_of(pixels(50, 3, 60, 40), **TABLES)
    before = files(path)
    stores = [LevelDbStore(path), LevelDbStore(path)]
    assert [store.read(49).label for store in stores] == [49, 49]
    assert stores[0].identity == stores[1].identity
    made = [store._folder for store in stores]
    del stores
    assert files(path) == before
    assert not any(os.path.exists(folder) for folder in made)  # noqa: PTH110


def test_a_leveldb_with_read_only_files(leveldb_of, pixels):
    """Files that nobody may write are no hindrance."""
    path = leveldb_of(pixels(3, 3, 6, 7))
    for file in path.iterdir():
        file.chmod(0o400)
    path.chmod(0o500)
    assert len(LevelDbStore(path)) == 3


def test_the_identity_changes_with_the_records(leveldb_of, pixels):
    """One more record, or a touched file, is another identity."""
    path = leveldb_of(pixels(3, 3, 6, 7))
    first = LevelDbStore(path).identity
    second = LevelDbStore(leveldb_of(pixels(4, 3, 6, 7, seed=1))).identity
    for file in path.iterdir():
        os.utime(file, (1, 1))
    assert len({first, second, LevelDbStore(path).identity}) == 3


def table(path):
    return max(path.glob("*.ldb"), key=lambda file: file.stat().st_size)


def spoil(path):
    content = bytearray(table(path).read_bytes())
    content[len(content) // 2] ^= 0xFF
    table(path).write_bytes(content)


DAMAGE = [
    (lambda path: table(path).unlink(), "missing files"),
    (lambda path: os.truncate(table(path), table(path).stat().st_size // 2), "leveldb"),
    (spoil, "Corruption: "),
    (lambda path: next(path.glob("MANIFEST-*")).unlink(), "MANIFEST"),
    (lambda path: (path / "CURRENT").write_text("x"), "CURRENT"),
]


@pytest.mark.parametrize(("damage", "cause"), DAMAGE)
def test_damage_is_named_before_the_first_read(damage, cause, leveldb_of, pixels):
    """A LevelDB that lost a file, or part of one, or a bit, is refused when it is opened."""
    path = leveldb_of(pixels(50, 3, 60, 40), **TABLES)
    damage(path)
    with pytest.raises(DataError, match=f"^{path}: cannot be read as a LevelDB: .*{cause}"):
        LevelDbStore(path)


def test_an_empty_leveldb(leveldb_of):
    """A LevelDB without records is refused."""
    with pytest.raises(DataError, match="leveldb: the LevelDB holds no records"):
        LevelDbStore(leveldb_of([]))


def test_a_leveldb_that_is_being_written(leveldb_of, pixels):
    """What another process has open for writing is refused."""
    path = leveldb_of(pixels(3, 3, 6, 7))
    program = f"import plyvel, sys; d = plyvel.DB({str(path)!r}); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "open\n"
        with pytest.raises(DataError, match="leveldb: another process has the LevelDB open"):
            LevelDbStore(path)
        process.stdin.close()
    assert len(LevelDbStore(path)) == 3


def test_the_backend_must_be_what_lies_there(opened, leveldb_of, store_of, pixels):
    """A backend that is stated and is not what lies on the disk is refused, both ways."""
    lmdb, leveldb = store_of(pixels(1, 3, 6, 7)), leveldb_of(pixels(1, 3, 6, 7))
    for path, backend, found in ((lmdb, "LEVELDB", "an LMDB"), (leveldb, "LMDB", "a LevelDB")):
        with pytest.raises(LayerError, match=f"the backend is {backend}, but {path} is {found}") as caught:
            opened(text(path, f"backend: {backend}"))
        assert caught.value.field == ("data_param", "backend")


def test_a_folder_that_cannot_be_looked_into(opened, tmp_path):
    """What the system says against a look into the folder is the message."""
    with pytest.raises(DataError, match="xxx: cannot be read: File name too long"):
        opened(text(tmp_path / ("x" * 300)))


def test_without_plyvel(opened, leveldb_of, pixels, monkeypatch):
    """Where plyvel is not installed the message tells how to install it, and how to convert: the command does it."""
    path = leveldb_of(pixels(3, 3, 6, 7))
    monkeypatch.setitem(sys.modules, "plyvel", None)
    with pytest.raises(DataError, match=r"leveldb: .* needs plyvel: pip install 'netspec\[leveldb\]'") as caught:
        opened(text(path))
    monkeypatch.undo()
    assert "netspec.data.write_lmdb('lmdb', plyvel.DB('leveldb').iterator())" in str(caught.value)
    with plyvel.DB(str(path)) as database:
        write_lmdb(path.parent / "lmdb", database.iterator())
    assert opened(text(path.parent / "lmdb", "backend: LMDB")).next()[1].tolist() == [0, 1, 2]


@pytest.fixture(params=["lmdb", "leveldb"])
def labelled(request, store_of, leveldb_of, pixels):
    """Write records with these lists of labels as a database of either kind."""

    def labelled(*rows):
        images = pixels(len(rows), 3, 6, 7)
        made = [raw_datum(image, 5) for image in images]
        for datum, row in zip(made, rows, strict=True):
            datum.labels.extend(row)
        return (store_of if request.param == "lmdb" else leveldb_of)(made)

    return labelled


@pytest.mark.parametrize("limit", [0, 1 << 28])
@pytest.mark.parametrize("cache", ["AUTO", "OFF"])
def test_a_vector_of_labels(limit, cache, opened, labelled, monkeypatch):
    """Datums with K labels give a second top (N, K), however the images are kept; they are no classes to check."""
    monkeypatch.setattr("netspec.data.records.MEMORY_LIMIT", limit)
    rows = [[0, 1.5], [2, -3], [1, 0]]
    path = labelled(*rows)
    for _ in range(2):
        source = opened(text(path, f"cache: {cache}"))
        source.check_labels(1, None, "loss")
        assert source.shapes == [(3, 3, 6, 7), (3, 2)]
        assert source.next()[1].tolist() == rows


def test_one_label_in_a_vector(opened, labelled):
    """A vector of one is the label itself, in place of the field `label`; it may be a fraction."""
    source = opened(text(labelled([0.5], [1], [])))
    assert source.shapes[1] == (3,)
    assert source.next()[1].tolist() == [0.5, 1, 5]
    with pytest.raises(DataError, match="has the label 5, but layer 'loss' knows 0 to 1"):
        source.check_labels(2, None, "loss")


@pytest.mark.parametrize(
    ("rows", "cause"),
    [
        (([1, 2], [1, 2], [1, 2, 3]), r"record 2 \(key '00000002'\): the record has 3 labels, the first one has 2"),
        (([1, 2], [], [1, 2]), r"record 1 \(key '00000001'\): the record has 1 labels, the first one has 2"),
        (([], [1], [1, 2]), r"record 2 \(key '00000002'\): the record has 2 labels, the first one has 1"),
    ],
)
def test_every_record_has_as_many_labels(rows, cause, opened, labelled):
    """A record with more or fewer labels than the first is named with its key."""
    with pytest.raises(DataError, match=cause):
        opened(text(labelled(*rows))).next()
