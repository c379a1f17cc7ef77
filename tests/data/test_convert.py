"""Image files into databases, by the rules of Caffe's convert_imageset."""

from pathlib import Path
from threading import Barrier, active_count

import h5py
import numpy as np
import pytest

from netspec.data import convert as convert_module
from netspec.data import hdf5_set, thread_pool
from netspec.data.convert import Damaged, census, convert, records
from netspec.data.datum import decode
from netspec.data.form import SAME, Form, record
from netspec.data.image_files import ImageFile, image_files
from netspec.data.lmdb_store import LmdbStore
from netspec.errors import DataError
from netspec.schema.netspec_pb2 import TEST

RECORDED = Path(__file__).parents[1] / "golden" / "training"


@pytest.fixture
def listed(tmp_path, pixels, encode):
    """Some colour images of 5x7 pixels below root/, and their list; the files, and the images."""
    (tmp_path / "root" / "a b").mkdir(parents=True)
    images, lines = pixels(5, 3, 5, 7), []
    for index, image in enumerate(images):
        (tmp_path / "root" / "a b" / f"{index}.png").write_bytes(encode(image))
        lines.append(f"a b/{index}.png {index % 3}\n")
    (tmp_path / "list.txt").write_text("".join(lines))
    return image_files(tmp_path / "list.txt", f"{tmp_path}/root/"), images


def stored(path):
    store = LmdbStore(path)
    return store.keys, [store.read(index) for index in range(len(store))]


def test_keys_and_datums_are_caffes(listed, tmp_path):
    """Keys are place and name, Datums raw BGR channel by channel with the list's labels."""
    files, images = listed
    assert convert(files, tmp_path / "db", Form()) == f"{tmp_path / 'db'}: 5 images"
    keys, data = stored(tmp_path / "db")
    assert keys == [b"%08d_a b/%d.png" % (index, index) for index in range(5)]
    assert [(d.channels, d.height, d.width, d.label, d.encoded) for d in data] == [
        (3, 5, 7, index % 3, False) for index in range(5)
    ]
    assert [d.data for d in data] == [image.tobytes() for image in images]


def test_a_recorded_database_is_written_again(tmp_path, encode):
    """The images of an LMDB that Caffe read, put into files, become Datums with the same fields."""
    _, recorded = stored(RECORDED / "test_lmdb")
    lines = []
    for index, datum in enumerate(recorded[:40]):
        (tmp_path / f"{index}.png").write_bytes(encode(decode(datum)))
        lines.append(f"{index}.png {datum.label}\n")
    (tmp_path / "list.txt").write_text("".join(lines))
    convert(image_files(tmp_path / "list.txt", str(tmp_path)), tmp_path / "db", Form(colour=False))
    fields = ("channels", "height", "width", "data", "label", "encoded")
    for written, datum in zip(stored(tmp_path / "db")[1], recorded[:40], strict=True):
        assert [getattr(written, field) for field in fields] == [getattr(datum, field) for field in fields]


def test_a_data_layer_reads_what_is_written(listed, tmp_path, opened):
    """What is written is what a net gets, raw or encoded."""
    files, images = listed
    for name, form in (("raw", Form()), ("encoded", Form(encoding="PNG", kept=("PNG",)))):
        convert(files, tmp_path / name, form)
        data = (
            f'type: "Data" top: "x" top: "y" data_param {{ source: "{tmp_path / name}" batch_size: 5 backend: LMDB }}'
        )
        values, labels = opened(data, TEST).next()
        np.testing.assert_array_equal(values.numpy(), images)
        assert labels.tolist() == [0, 1, 2, 0, 1]


def test_shuffled_by_the_seed(listed, tmp_path):
    """Another order, the same for the same seed; the key's number is the place in it."""
    files, _ = listed
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        convert(files, tmp_path / name, Form(), shuffle=True, seed=seed)
    orders = [[key.decode() for key in stored(tmp_path / name)[0]] for name in "abc"]
    assert orders[0] == orders[1] != orders[2]
    assert [int(key[:8]) for key in orders[0]] == list(range(5))
    assert sorted(key[9:] for key in orders[0]) == [file.name for file in files]


def test_images_of_several_sizes(listed, tmp_path, encode, pixels):
    """Sizes may differ unless check_size is asked for; resizing makes them alike."""
    files, _ = listed
    files[2].path.write_bytes(encode(pixels(1, 3, 6, 6)[0]))
    convert(files, tmp_path / "a", Form())
    with pytest.raises(DataError, match=r"list.txt: line 3 .*2.png\): an image of \(3, 6, 6\) where the first is"):
        convert(files, tmp_path / "b", Form(), check_size=True)
    assert not (tmp_path / "b").exists()
    convert(files, tmp_path / "c", Form(size=(4, 3)), check_size=True)
    assert {(d.height, d.width) for d in stored(tmp_path / "c")[1]} == {(4, 3)}


def test_damaged_files_up_to_a_limit(listed, tmp_path, caplog):
    """A file that is no image is named; as many as allowed are left out, and their numbers with them."""
    files, _ = listed
    for index in (1, 3):
        files[index].path.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"line 4 \(a b/3.png\): cannot decode"):
        convert(files, tmp_path / "db", Form(), skip_damaged=1)
    caplog.clear()
    assert "3 images, 2 left out" in convert(files, tmp_path / "db", Form(), skip_damaged=2)
    assert [key[:8] for key in stored(tmp_path / "db")[0]] == [b"00000000", b"00000002", b"00000004"]
    assert [line for line in caplog.messages if "line 2 (a b/1.png)" in line]


def test_a_missing_file_is_no_damaged_one(listed, tmp_path):
    """A file that is not there ends the conversion by its name, whatever may be skipped."""
    files, _ = listed
    files[1].path.unlink()
    with pytest.raises(DataError, match=r"line 2 .*1.png cannot be read: No such file"):
        convert(files, tmp_path / "db", Form(), skip_damaged=9)


def test_the_first_mistake_of_the_files_is_told(listed, tmp_path, caplog):
    """Of damaged and missing files that of the lower place is the error, and only those before it are in the log."""
    files, _ = listed
    for index in (0, 3):
        files[index].path.write_bytes(b"no image")
    files[2].path.unlink()
    for skip, cause, left_out in ((0, r"line 1 .*cannot decode", 0), (1, r"line 3 .*2.png cannot be read", 1)):
        caplog.clear()
        with pytest.raises(DataError, match=cause):
            convert(files, tmp_path / "db", Form(), skip_damaged=skip)
        assert len(caplog.messages) == left_out


@pytest.mark.parametrize("part", [1, 3, 8])
def test_threads_change_nothing(part, tmp_path, pixels, encode, monkeypatch):
    """Files come in their order, each as it is alone, whatever part of them a thread takes."""
    monkeypatch.setattr(convert_module, "_PART", part)
    files = []
    for index, image in enumerate(pixels(50, 3, 5, 7)):
        (tmp_path / f"{index}.png").write_bytes(encode(image) if index % 7 else b"no image")
        files.append(ImageFile(f"{index}.png", tmp_path / f"{index}.png", index % 3, f"file {index}"))
    found = list(records(files, Form(size=(4, 4)), damaged=Damaged(8)))
    assert [number for number, _ in found] == [index for index in range(50) if index % 7]
    for number, entry in found:
        alone = record(files[number].name, files[number].read(), files[number].labels, Form(size=(4, 4)))
        assert (entry.name, entry.datum) == (alone.name, alone.datum)
        np.testing.assert_array_equal(entry.image, alone.image)


def test_files_are_read_at_the_same_time(listed, monkeypatch):
    """While one file is waited for, another one is read."""
    for module, name, number in ((convert_module, "_PART", 1), (thread_pool, "_THREADS", 2)):
        monkeypatch.setattr(module, name, number)
    both, read = Barrier(2), ImageFile.read
    monkeypatch.setattr(ImageFile, "read", lambda file: both.wait(10) >= 0 and read(file))
    assert len(list(records(listed[0][:4], Form()))) == 4


def test_few_files_are_prepared_ahead(listed):
    """Of many files a bounded number is taken before the first is asked for, so that no memory is filled."""
    taken = []
    found = records((taken.append(file) or file for file in listed[0] * 100), Form())
    assert next(found)[0] == 0
    found.close()
    assert len(taken) < 100


def test_an_interruption_ends_the_threads(listed, tmp_path, monkeypatch):
    """Once the interruption of a conversion comes out no thread is left, also while its traceback is kept."""

    def interrupted(path, entries):
        next(entries)
        raise KeyboardInterrupt

    monkeypatch.setattr(convert_module, "write_lmdb", interrupted)
    before = active_count()
    with pytest.raises(KeyboardInterrupt) as caught:
        convert(listed[0] * 100, tmp_path / "db", Form())
    assert caught.tb is not None
    assert active_count() == before


def test_hdf5(listed, tmp_path, opened, monkeypatch):
    """An HDF5Data layer reads the folder by its list, over all its files."""
    files, images = listed
    monkeypatch.setattr(hdf5_set, "_FILE_BYTES", 2 * images[0].size * 4)
    convert(files, tmp_path / "set", Form(), "hdf5")
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == ["0000.h5", "0001.h5", "0002.h5", "list.txt"]
    source = tmp_path / "set" / "list.txt"
    text = f'type: "HDF5Data" top: "data" top: "label" hdf5_data_param {{ source: "{source}" batch_size: 5 }}'
    values, labels = opened(text).next()
    np.testing.assert_array_equal(values.numpy(), images)
    assert labels.tolist() == [0, 1, 2, 0, 1]
    with pytest.raises(DataError, match="already exists"):
        convert(files, tmp_path / "set", Form(), "hdf5")


def test_an_hdf5_set_is_found_from_any_folder(listed, tmp_path, monkeypatch):
    """The list has absolute paths, also where the set was written to a relative one."""
    monkeypatch.chdir(tmp_path)
    convert(listed[0], Path("set"), Form(), "hdf5")
    assert Path("set/list.txt").read_text() == f"{tmp_path}/set/0000.h5\n"


@pytest.mark.parametrize("form", [Form(encoding=SAME), Form(encoding="PNG")])
def test_hdf5_holds_no_image_files(form, listed, tmp_path):
    """A kind of image file is refused where none is written."""
    with pytest.raises(DataError, match="HDF5 files hold pixels, not image files"):
        convert(listed[0], tmp_path / "set", form, "hdf5")


def test_hdf5_with_several_labels(listed, tmp_path):
    """Several labels are rows of the dataset."""
    (tmp_path / "list.txt").write_text("".join(f"a b/{index}.png {index} 0.5\n" for index in range(5)))
    convert(image_files(tmp_path / "list.txt", str(tmp_path / "root"), 2), tmp_path / "set", Form(), "hdf5")
    with h5py.File(tmp_path / "set" / "0000.h5") as file:
        assert file["data"].dtype == file["label"].dtype == np.float32
        assert file["label"][...].tolist() == [[index, 0.5] for index in range(5)]


def test_hdf5_leaves_nothing_half_made(listed, tmp_path):
    """Where an image fails no folder is left."""
    files, _ = listed
    files[4].path.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"4.png"):
        convert(files, tmp_path / "set", Form(), "hdf5")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["list.txt", "root"]


def test_census(listed):
    """Counting says how many images and classes there are, and which files are not."""
    files, _ = listed
    assert census(files) == "5 images of 3 classes (0 to 2), 1 to 2 images a class"
    files[3].path.unlink()
    assert census(files).splitlines()[1].endswith("line 4 (a b/3.png)")
