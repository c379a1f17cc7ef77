"""tools/get_data.py, convert_imageset.py, compute_mean.py and show_batch.py as commands."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from netspec.data.lmdb_store import LmdbStore

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path):
    """A folder of two classes with ten PNGs each, and a list of them."""
    lines = []
    for index, image in enumerate(np.random.default_rng(0).integers(0, 256, (20, 6, 6, 3), np.uint8)):
        name = f"{'ab'[index % 2]}/{index}.png"
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(tmp_path / "images" / name)
        lines.append(f"{name} {index % 2}\n")
    (tmp_path / "list.txt").write_text("".join(lines))
    return tmp_path


def run(cwd, tool, *arguments):
    """The finished command."""
    env = {"PYTHONPATH": str(ROOT), "NETSPEC_CACHE": str(cwd / "cache")}
    command = [sys.executable, ROOT / "tools" / f"{tool}.py", *arguments]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=120)


def test_from_images_to_a_picture_of_batches(folder):
    """The tools follow each other: a set of one's own, its mean, and a look at what a net gets of it."""
    done = run(folder, "get_data", "folder", "images", "--out", "set", "--val-fraction", "0.3", "--size", "5", "4")
    assert (done.returncode, done.stdout) == (0, "set: 2 classes, 14 train and 6 val images\n"), done.stderr
    done = run(folder, "compute_mean", "set/train_lmdb", "again.binaryproto")
    assert done.returncode == 0 and "mean_value channel [2]: " in done.stdout
    assert (folder / "again.binaryproto").read_bytes() == (folder / "set" / "mean.binaryproto").read_bytes()
    (folder / "net.prototxt").write_text(
        'layer { name: "in" type: "Data" top: "x" top: "y" transform_param { mean_file: "set/mean.binaryproto" }'
        ' data_param { source: "set/${SPLIT}_lmdb" batch_size: 2 backend: LMDB } }'
    )
    done = run(folder, "show_batch", "net.prototxt", "--phase", "TRAIN", "--define", "SPLIT=val", "--out", "x.png")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('TRAIN: "x" of layer "in" (Data), 3x5x4.') and done.stdout.endswith("\nx.png\n")
    assert Image.open(folder / "x.png").format == "PNG"


def test_a_set_without_its_damaged_images(folder):
    """A file of one's own that is no image ends the command by its name, or is left out and named where one may be."""
    (folder / "images" / "a" / "0.png").write_bytes(b"no image")
    done = run(folder, "get_data", "folder", "images", "--out", "set")
    assert done.returncode == 1 and "a/0.png: cannot decode an image" in done.stderr
    done = run(folder, "get_data", "folder", "images", "--out", "set", "--skip-damaged", "1")
    assert done.returncode == 0 and "left out: images/a/0.png: cannot decode" in done.stderr
    assert done.stdout == "set: 2 classes, 18 train and 1 val images, 1 left out\n"


@pytest.mark.parametrize(
    ("place", "flags"),
    [
        (0, ["--gray", "--shuffle", "--backend=lmdb", "--resize_width=4", "--resize_height=3", "--check_size"]),
        (3, ["-gray", "-shuffle", "-backend", "lmdb", "-resize_width", "4", "-resize_height", "3", "-check_size"]),
        (1, ["--gray=true", "-shuffle=1", "-resize_width=4", "-resize_height=3", "--encoded=false"]),
        (2, ["--nogray", "-gray=yes", "--shuffle=t", "-resize_width=4", "-resize_height=3", "-encoded", "-noencoded"]),
    ],
)
def test_converts_a_list_with_caffes_flags(folder, place, flags):
    """Flags are taken as Caffe's users write them: with one dash or two, with a value or not, anywhere."""
    arguments = ["images/", "list.txt", "db"]
    done = run(folder, "convert_imageset", *arguments[:place], *flags, *arguments[place:])
    assert (done.returncode, done.stdout) == (0, "db: 20 images\n"), done.stderr
    store = LmdbStore(folder / "db")
    datum = store.read(0)
    assert (datum.channels, datum.height, datum.width, datum.encoded) == (1, 3, 4, False)
    assert store.keys[0] != b"00000000_a/0.png"


def test_converts_a_folder(folder):
    """Without a list the folder's classes are taken; --dry counts and writes nothing."""
    done = run(folder, "convert_imageset", "--dry", "images", "db")
    assert "20 images of 2 classes (0 to 1), 10 to 10 images a class" in done.stdout
    assert not (folder / "db").exists()
    assert run(folder, "convert_imageset", "--encoded", "images", "db").returncode == 0
    store = LmdbStore(folder / "db")
    assert store.keys[0] == b"00000000_a/0.png" and store.keys[-1] == b"00000019_b/9.png"
    assert store.read(0).data == (folder / "images" / "a" / "0.png").read_bytes()


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        ("get_data", ["folder", "none"], "get_data: none: there is no such folder"),
        ("get_data", ["folder"], "the following arguments are required: FOLDER"),
        ("convert_imageset", ["--resize_width=3", "images", "db"], "error: give resize_height and resize_width"),
        ("convert_imageset", ["images/", "none.txt", "db"], "error: none.txt: the list cannot be read"),
        ("convert_imageset", ["images/", "list.txt", "images"], "error: images already exists"),
        ("convert_imageset", ["images", "db", "--labels", "-1"], "error: each line ends with 1 or more labels, not -1"),
        ("convert_imageset", ["images", "db", "--resize_width=-3", "--resize_height=-3"], "not to -3x-3"),
        ("convert_imageset", ["images", "db", "--backend=hdf5", "--encoded"], "error: HDF5 files hold pixels, not"),
        ("convert_imageset", ["images", "db", "--gray=maybe"], "ignored explicit argument 'maybe'"),
        ("compute_mean", ["none"], "error: none: the list cannot be read"),
        ("compute_mean", ["list.txt", "list.txt/x", "--root_folder=images"], "error: list.txt/x: cannot be written"),
        ("get_data", ["folder", "images", "--size", "0", "0"], "get_data: images can be resized to 1 to 16384 pixels"),
        ("show_batch", ["none.prototxt"], "error: none.prototxt:1:1: there is no such file"),
        ("show_batch", ["x.prototxt", "--count", "0"], "--count must be at least 1"),
    ],
)
def test_a_mistake_is_one_message(tool, arguments, said, folder):
    """A mistake ends the command with a message and no traceback."""
    done = run(folder, tool, *arguments)
    assert done.returncode != 0
    assert said in done.stderr and "Traceback" not in done.stderr
