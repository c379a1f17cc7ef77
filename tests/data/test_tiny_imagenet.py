"""The maker of Tiny ImageNet, on a small copy of its layout, and its command."""

import hashlib
import io
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from netspec.data import made_set, tiny_imagenet
from netspec.data.datum import decode
from netspec.data.download import Remote
from netspec.data.lmdb_store import LmdbStore
from netspec.data.mean import read_mean
from netspec.errors import DataError

TOOL = Path(__file__).parents[2] / "tools" / "get_data.py"
WNIDS = ["n03", "n01", "n02"]
EACH = 4
PARTS = made_set.part_names(tiny_imagenet.SPLITS)


@pytest.fixture
def layout(pixels, encode):
    """The files of a set of three classes with four train images and one val image each; one train image is grey."""
    files = {
        "wnids.txt": "\n".join(WNIDS).encode(),
        "words.txt": b"n00\tentity\nn01\tcat, house cat\nn03\treel\nn02\tlemon\n",
        "val/val_annotations.txt": "".join(f"val_{i}.JPEG\t{w}\t0\t0\t9\t9\n" for i, w in enumerate(WNIDS)).encode(),
    }
    images = iter(pixels(len(WNIDS) * (EACH + 1), 3, 64, 64))
    for i, wnid in enumerate(WNIDS):
        files[f"train/{wnid}/{wnid}_boxes.txt"] = b""
        for j in range(EACH):
            files[f"train/{wnid}/images/{wnid}_{j}.JPEG"] = encode(next(images), "JPEG")
        files[f"val/images/val_{i}.JPEG"] = encode(next(images), "JPEG")
    files["train/n01/images/n01_2.JPEG"] = encode(next(iter(pixels(1, 1, 64, 64))), "JPEG")
    files["test/images/test_0.JPEG"] = b"no label, no use"
    return {f"tiny-imagenet-200/{name}": data for name, data in files.items()}


def as_folder(files, folder):
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return [folder / "tiny-imagenet-200"]


def as_zip(files, folder):
    with zipfile.ZipFile(folder / "set.zip", "w") as archive:
        archive.writestr("tiny-imagenet-200/", b"")
        for name, data in files.items():
            archive.writestr(name, data)
    return [folder / "set.zip"]


def as_tars(files, folder):
    """Two archives, with the lists in the second."""
    paths = [folder / "0.tar.gz", folder / "1.tar"]
    for path, mode, part in zip(paths, ("w:gz", "w"), (list(files)[3:], list(files)[:3]), strict=True):
        with tarfile.open(path, mode) as archive:
            for name in part:
                member = tarfile.TarInfo(name)
                member.size = len(files[name])
                archive.addfile(member, io.BytesIO(files[name]))
    return paths


def read(path):
    store = LmdbStore(path)
    return store.keys, [store.read(i) for i in range(len(store))]


@pytest.mark.parametrize("pack", [as_folder, as_zip, as_tars])
def test_writes_the_set_from_any_source(pack, layout, tmp_path):
    """From a folder, a zip or several tars come both LMDBs, the mean of the train images and the labels' names."""
    out = tmp_path / "out"
    assert "3 classes, 12 train and 3 val images" in tiny_imagenet.make(out, pack(layout, tmp_path))
    assert sorted(path.name for path in out.iterdir()) == sorted(PARTS)
    assert (out / "labels.txt").read_text() == "n03 reel\nn01 cat, house cat\nn02 lemon\n"
    keys, data = read(out / "train_lmdb")
    for index, (key, datum) in enumerate(zip(keys, data, strict=True)):
        position, name = key.decode().split("_", 1)
        wnid = name.split("_")[0]
        assert (int(position), datum.label) == (index, WNIDS.index(wnid))
        original = layout[f"tiny-imagenet-200/train/{wnid}/images/{name}"]
        assert datum.data == original or name == "n01_2.JPEG"
    mean = np.mean([decode(datum) for datum in data], axis=0)
    np.testing.assert_allclose(read_mean(out / "mean.binaryproto"), mean, rtol=1e-6)
    keys, data = read(out / "val_lmdb")
    assert keys == [b"%08d_val_%d.JPEG" % (i, i) for i in range(3)]
    assert [datum.label for datum in data] == [0, 1, 2]


def test_train_images_are_shuffled_alike_every_time(layout, tmp_path):
    """The order of the train images mixes the classes and is the same in every making."""
    for name in "ab":
        tiny_imagenet.make(tmp_path / name, as_folder(layout, tmp_path))
    keys, data = read(tmp_path / "a" / "train_lmdb")
    assert keys == read(tmp_path / "b" / "train_lmdb")[0]
    assert [datum.label for datum in data] != sorted(datum.label for datum in data)


def test_grey_images_have_colour_in_any_reader(layout, tmp_path):
    """A grey file is stored as a colour one with the same pixels, so that Caffe needs no force_color."""
    tiny_imagenet.make(tmp_path / "out", as_folder(layout, tmp_path))
    keys, data = read(tmp_path / "out" / "train_lmdb")
    stored = next(datum for key, datum in zip(keys, data, strict=True) if key.endswith(b"n01_2.JPEG"))
    original = type(stored)(data=layout["tiny-imagenet-200/train/n01/images/n01_2.JPEG"], encoded=True)
    np.testing.assert_array_equal(decode(stored), decode(original).repeat(3, axis=0))


def test_keeps_the_first_classes(layout, tmp_path):
    """`classes` keeps the first wnids with labels from 0."""
    tiny_imagenet.make(tmp_path / "out", as_folder(layout, tmp_path), classes=2)
    assert (tmp_path / "out" / "labels.txt").read_text() == "n03 reel\nn01 cat, house cat\n"
    for name, count in (("train_lmdb", 2 * EACH), ("val_lmdb", 2)):
        data = read(tmp_path / "out" / name)[1]
        assert len(data) == count
        assert {datum.label for datum in data} == {0, 1}


@pytest.mark.parametrize("name", ["wnids.txt", "words.txt", "val/val_annotations.txt"])
def test_blank_lines_and_spaces_in_lists_are_passed_over(name, layout, tmp_path):
    """Empty lines, and spaces at the ends of others, change neither labels nor names."""
    place = f"tiny-imagenet-200/{name}"
    layout[place] = b"\r\n" + layout[place].replace(b"\n", b" \n \n") + b"\n"
    assert "3 classes, 12 train and 3 val" in tiny_imagenet.make(tmp_path / "out", as_folder(layout, tmp_path))
    assert (tmp_path / "out" / "labels.txt").read_text() == "n03 reel\nn01 cat, house cat\nn02 lemon\n"
    assert [datum.label for datum in read(tmp_path / "out" / "val_lmdb")[1]] == [0, 1, 2]


def without(name):
    return lambda files: {key: data for key, data in files.items() if name not in key}


def listing(name, content):
    """With another list."""
    return lambda files: files | {f"tiny-imagenet-200/{name}": content.encode()}


def cut(files):
    return {key: data[:-500] if key.endswith("n02_1.JPEG") else data for key, data in files.items()}


@pytest.mark.parametrize(
    ("change", "options", "cause"),
    [
        (without("wnids.txt"), {}, "hold no wnids.txt"),
        (without("val_annotations"), {}, "hold no val_annotations.txt"),
        (without("train/n02"), {}, "no train images of 1 classes, n02 the first"),
        (without("val/images"), {}, r"no val image val_0.JPEG \(3 of 3 are missing\)"),
        (without("val_1"), {}, r"no val image val_1.JPEG \(1 of 3 are missing\)"),
        (listing("val/val_annotations.txt", "val_0.JPEG\n"), {}, "names no val images of the classes"),
        (listing("wnids.txt", "n03\nn03\nn01\nn02\n"), {}, r"wnids.txt names n03 more than once \(1 such"),
        (cut, {}, r"n02_1.JPEG: cannot decode JPEG"),
        (dict, {"classes": 4}, "4 classes asked for; wnids.txt has 3"),
        (dict, {"classes": 0}, "0 classes asked for"),
    ],
)
def test_refuses_an_incomplete_or_damaged_source(change, options, cause, layout, tmp_path):
    """What is missing or damaged is named, and nothing is written."""
    with pytest.raises(DataError, match=cause):
        tiny_imagenet.make(tmp_path / "out", as_folder(change(layout), tmp_path), **options)
    assert list((tmp_path / "out").iterdir()) == []


def locked():
    """A zip whose file needs a password, by its two headers."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("wnids.txt", b"n01\n")
    content = bytearray(packed.getvalue())
    for header, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(header) + flags] |= 1
    return bytes(content)


def unknown_packing():
    """A zip whose file is packed in a way that no program knows."""
    content = bytearray(locked())
    for header, flags, method in ((b"PK\3\4", 6, 8), (b"PK\1\2", 8, 10)):
        content[content.index(header) + flags] &= ~1
        content[content.index(header) + method] = 77
    return bytes(content)


@pytest.mark.parametrize("content", [None, b"", b"no archive", b"\x1f\x8b" + bytes(100), locked(), unknown_packing()])
def test_names_a_source_that_is_no_archive(content, tmp_path):
    """A source that is missing, no archive, or locked, is named."""
    if content is not None:
        (tmp_path / "set.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"set.zip: cannot be read as a zip, a tar or a folder"):
        tiny_imagenet.make(tmp_path / "out", [tmp_path / "set.zip"])


def test_a_cut_archive_is_refused(layout, tmp_path):
    """An archive that lost its end is refused by name."""
    paths = as_tars(layout, tmp_path)
    paths[0].write_bytes(paths[0].read_bytes()[:-1000])
    with pytest.raises(DataError, match=r"0.tar.gz: cannot be read"):
        tiny_imagenet.make(tmp_path / "out", paths)


def test_replaces_a_complete_set_only_by_force(layout, tmp_path):
    """A set that is there is refused unless `force` is given; what else lies in the folder stays."""
    out = tmp_path / "out"
    sources = as_folder(layout, tmp_path)
    tiny_imagenet.make(out, sources)
    (out / "notes.txt").touch()
    with pytest.raises(DataError, match=r"already holds train_lmdb and .* and labels.txt; --force replaces what is"):
        tiny_imagenet.make(out, sources, classes=1)
    tiny_imagenet.make(out, sources, classes=1, force=True)
    assert len(LmdbStore(out / "train_lmdb")) == EACH
    assert (out / "notes.txt").exists()


@pytest.mark.parametrize("part", PARTS)
def test_a_file_of_the_users_own_is_not_replaced(part, layout, tmp_path):
    """Whatever has the name of a part is refused before anything is read, and stays as it is."""
    (tmp_path / "out" / part).mkdir(parents=True)
    (tmp_path / "out" / part / "mine").touch()
    with pytest.raises(DataError, match=f"out already holds {part}; --force replaces what is there"):
        tiny_imagenet.make(tmp_path / "out", [tmp_path / "none"])
    assert [path.name for path in (tmp_path / "out").rglob("*")] == [part, "mine"]


@pytest.mark.parametrize("old", [True, False])
def test_a_set_cut_short_does_not_look_whole(old, layout, tmp_path, monkeypatch):
    """A set of which some parts are in their place, or were replaced, and others not, is made again without force."""
    out = tmp_path / "out"
    sources = as_folder(layout, tmp_path)
    if old:
        tiny_imagenet.make(out, sources)
    moved, move = [], made_set._move

    def interrupted(part, target):
        if moved:
            raise KeyboardInterrupt
        moved.append(part)
        move(part, target)

    monkeypatch.setattr(made_set, "_move", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tiny_imagenet.make(out, sources, classes=1, force=True)
    monkeypatch.setattr(made_set, "_move", move)
    tiny_imagenet.make(out, sources)
    assert len(LmdbStore(out / "train_lmdb")) == EACH * len(WNIDS)
    with pytest.raises(DataError, match="already holds"):
        tiny_imagenet.make(out, sources)


def test_a_full_disk_leaves_nothing(layout, tmp_path, file_limit):
    """A disk that fills up during the writing is one message, and leaves the folder empty."""
    sources = as_folder(layout, tmp_path)
    with file_limit(30000), pytest.raises(DataError, match="train_lmdb: cannot be written"):
        tiny_imagenet.make(tmp_path / "out", sources)
    assert list((tmp_path / "out").iterdir()) == []


def test_downloads_what_is_not_given(layout, tmp_path, monkeypatch):
    """Without sources the archive is fetched; it is removed once the set is whole."""
    (archive,) = as_zip(layout, tmp_path)
    known = hashlib.md5(archive.read_bytes()).hexdigest()
    monkeypatch.setattr(tiny_imagenet, "REMOTE", Remote("tiny.zip", [archive.as_uri()], known))
    assert "12 train and 3 val images" in tiny_imagenet.make(tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(PARTS)


def command(*args, before="pass"):
    """Run the tool, after a line that prepares the process."""
    start = f"import runpy, sys; sys.argv = sys.argv[1:]; {before}; runpy.run_path(sys.argv[0], run_name='__main__')"
    return subprocess.run([sys.executable, "-c", start, TOOL, *args], capture_output=True, text=True, timeout=60)


def test_help_needs_no_torch():
    """--help answers without importing torch."""
    done = command("tiny-imagenet", "--help", before="sys.modules['torch'] = sys.modules['netspec'] = None")
    assert done.returncode == 0
    assert "--classes" in done.stdout


def test_command_writes_the_set(layout, tmp_path):
    """The command ends with 0 and one line on what it wrote."""
    done = command("tiny-imagenet", "--from", *as_tars(layout, tmp_path), "--out", tmp_path / "out", "--classes", "1")
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'out'}: 1 classes, 4 train and 1 val images\n")


def test_command_reports_in_one_line(tmp_path):
    """A mistake is one line and a code that is not 0."""
    done = command("tiny-imagenet", "--from", tmp_path / "none", "--out", tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr.startswith("get_data: ")
    assert done.stderr.count("\n") == 1


def test_command_interrupted(layout, tmp_path):
    """Ctrl-C during the writing is one line, its own code, and leaves nothing."""
    stop = (
        "import signal, netspec.data.mean as m; m.MeanImage.add = lambda *_: signal.raise_signal(2);"
        "signal.signal(2, signal.default_int_handler)"  # which a run in the background has not
    )
    done = command("tiny-imagenet", "--from", *as_zip(layout, tmp_path), "--out", tmp_path / "out", before=stop)
    assert done.returncode == 130
    assert done.stderr.splitlines()[-1].startswith("get_data: interrupted; nothing was written")
    assert list((tmp_path / "out").iterdir()) == []
