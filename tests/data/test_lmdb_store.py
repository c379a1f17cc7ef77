"""Reading and writing LMDBs of Datums."""

import gc
import os
from threading import Thread

import lmdb
import pytest

from netspec.data import lmdb_store
from netspec.data.lmdb_store import LmdbStore, write_lmdb
from netspec.errors import DataError


def empty_lmdb(path):
    lmdb.open(str(path)).close()


def zero_bytes(path):
    path.mkdir()
    (path / "data.mdb").touch()


def noise(path):
    path.mkdir()
    (path / "data.mdb").write_bytes(bytes(range(256)) * 64)


def leveldb(path):
    path.mkdir()
    (path / "CURRENT").write_text("MANIFEST-000001")


def records(count, size=100):
    return [(b"%08d" % i, os.urandom(size)) for i in range(count)]


def test_reads_what_was_written(pixels, store_of):
    """A store gives keys and Datums in order, by its folder or its file, twice at once, and in another thread."""
    images = pixels(5, 3, 4, 6)
    path = store_of(images)
    folder, file = LmdbStore(path), LmdbStore(path / "data.mdb")
    assert len(folder) == 5
    assert file.keys == [b"%08d" % i for i in range(5)]
    read = []
    thread = Thread(target=lambda: read.extend(folder.read(i) for i in range(5)))
    thread.start()
    thread.join()
    assert [datum.data for datum in read] == [image.tobytes() for image in images]
    assert [file.read(i).label for i in range(5)] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        (lambda path: None, "no such file or folder"),
        (lambda path: path.mkdir(), "holds no data.mdb"),
        (leveldb, "LevelDB"),
        (zero_bytes, "is empty"),
        (noise, "cannot be opened as an LMDB"),
        (empty_lmdb, "holds no records"),
    ],
)
def test_refuses_what_is_no_store(make, cause, tmp_path):
    """Whatever is not an LMDB with records is refused with its path and the cause."""
    path = tmp_path / "db"
    make(path)
    with pytest.raises(DataError, match=cause) as caught:
        LmdbStore(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_refuses_a_cut_store(share, tmp_path):
    """A store that lost its end is refused before a read of the missing pages ends the process."""
    write_lmdb(tmp_path / "db", records(1000))
    file = tmp_path / "db" / "data.mdb"
    size = file.stat().st_size
    os.truncate(file, int(size * share))
    with pytest.raises(DataError, match=f"cut short: {int(size * share)} bytes of {size}"):
        LmdbStore(tmp_path / "db")


def test_names_a_record_that_is_no_datum(tmp_path):
    """A value that does not parse is reported with its index and key."""
    write_lmdb(tmp_path / "db", [(b"a", b""), (b"b", b"\xff" * 9)])
    with pytest.raises(DataError, match=r"record 1 \(key 'b'\) is no Datum \(9 bytes\)"):
        LmdbStore(tmp_path / "db").read(1)


def test_grows_and_stays_compact(tmp_path, monkeypatch):
    """A writer grows its map as it needs and leaves a file little larger than the records."""
    monkeypatch.setattr(lmdb_store, "_FIRST_MAP_SIZE", 1 << 16)
    write_lmdb(tmp_path / "db", records(3000, 400))
    assert len(LmdbStore(tmp_path / "db")) == 3000
    assert (tmp_path / "db" / "data.mdb").stat().st_size < 1.3 * 3000 * 400


def test_identity_changes_with_the_file(tmp_path):
    """The identity is stable, and another one once the file was touched."""
    write_lmdb(tmp_path / "db", records(3))
    before = LmdbStore(tmp_path / "db").identity
    assert LmdbStore(tmp_path / "db").identity == before
    os.utime(tmp_path / "db" / "data.mdb", (1, 1))
    assert LmdbStore(tmp_path / "db").identity != before


def test_a_replaced_file_is_not_read_under_its_old_name(tmp_path):
    """While a store is open, another file put in its place is either read or refused, never taken for the old one."""
    write_lmdb(tmp_path / "db", records(3))
    store = LmdbStore(tmp_path / "db")
    (tmp_path / "db").rename(tmp_path / "old")
    write_lmdb(tmp_path / "db", records(5000))
    try:
        assert len(LmdbStore(tmp_path / "db")) == 5000
    except DataError as error:
        assert "already open" in str(error)
    assert len(store) == 3


def test_a_touched_file_is_opened_once_more(tmp_path):
    """A store that is open hinders no other of the same file, whatever its time, its name or its age."""
    write_lmdb(tmp_path / "db", records(3))
    first = LmdbStore(tmp_path / "db")
    os.utime(tmp_path / "db" / "data.mdb", (1, 1))
    (tmp_path / "link").hardlink_to(tmp_path / "db" / "data.mdb")
    second, linked = LmdbStore(tmp_path / "db"), LmdbStore(tmp_path / "link")
    del first
    gc.collect()
    assert second.keys == linked.keys == [b"%08d" % i for i in range(3)]


def test_the_last_store_closes_the_file(tmp_path):
    """Once no store is left the file is closed: the binding itself would open it again."""
    write_lmdb(tmp_path / "db", records(3))
    stores = [LmdbStore(tmp_path / "db") for _ in range(3)]
    stores[0].ring = stores  # only the garbage collector finds them
    with pytest.raises(lmdb.Error, match="already open"):
        lmdb.open(str(tmp_path / "db"), readonly=True, lock=False)
    del stores
    gc.collect()
    lmdb.open(str(tmp_path / "db"), readonly=True, lock=False).close()


def test_stores_come_and_go_in_many_threads(tmp_path):
    """A file may be opened in one thread at the moment when its last store goes in another."""
    write_lmdb(tmp_path / "db", records(3))
    wrong = []

    def come_and_go():
        try:
            for _ in range(300):
                store = LmdbStore(tmp_path / "db")
                store.ring = store
                assert len(store.keys) == 3
                del store
                gc.collect(0)
        except Exception as error:
            wrong.append(error)

    threads = [Thread(target=come_and_go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def interrupted():
    yield from records(2500)
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("source", "error", "cause"),
    [
        (interrupted, KeyboardInterrupt, None),
        (lambda: [(b"b", b""), (b"a", b"")], DataError, "key b'a' does not follow"),
        (lambda: [(b"a", b""), (b"a", b"")], DataError, "key b'a' does not follow"),
    ],
)
def test_leaves_nothing_half_made(source, error, cause, tmp_path):
    """A writer that does not reach its end leaves neither the store nor a trace of it."""
    with pytest.raises(error, match=cause):
        write_lmdb(tmp_path / "sub" / "db", source())
    assert list((tmp_path / "sub").iterdir()) == []


def test_full_disk_is_one_message(tmp_path, file_limit):
    """A full disk is reported with the path and the room left, and leaves nothing."""
    with file_limit(1 << 18), pytest.raises(DataError, match=r"db: cannot be written: .* bytes are free there"):
        write_lmdb(tmp_path / "sub" / "db", records(3000, 1000))
    assert list((tmp_path / "sub").iterdir()) == []


def test_overwrites_nothing(tmp_path):
    """A path that exists is refused and stays as it is."""
    write_lmdb(tmp_path / "db", records(3))
    with pytest.raises(DataError, match="already exists"):
        write_lmdb(tmp_path / "db", records(4))
    assert len(LmdbStore(tmp_path / "db")) == 3
