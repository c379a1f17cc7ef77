"""What a run says of the sets that its nets read: classes that are numbered otherwise, data that has changed."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from netspec import Solver
from netspec.check import check
from netspec.check.findings import ERROR
from netspec.data import write_lmdb
from netspec.data.cache import Set
from netspec.data.datum import Pixels, raw_datum
from netspec.data.records import Records
from netspec.errors import DataError

SOURCE = 'layer {{ name: "{}" type: "{}" top: "data" top: "label" include {{ phase: {} }} {} }}\n'
LAYERS = """
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
SOLVER = """
net: "net.prototxt" base_lr: 0.01 lr_policy: "fixed" max_iter: 4 test_interval: 2 test_iter: 1
snapshot_prefix: "run" random_seed: 1 solver_mode: CPU
"""


def write_folder(folder: Path, classes: list[str], count: int = 2) -> None:
    """A folder of classes with so many small images each."""
    random = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for index in range(count):
            pixels = random.integers(0, 256, (4, 4, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index}.png")


def write_net(source: str = "folder", train: str = "train", test: str = "test") -> None:
    """A net that learns from a folder or list, or from an LMDB, and its solver."""
    kind, field = ("Data", "data_param") if source == "lmdb" else ("ImageData", "image_data_param")
    layers = [
        SOURCE.format("data", kind, phase, f'{field} {{ source: "{place}" batch_size: 2 }}')
        for phase, place in (("TRAIN", train), ("TEST", test))
    ]
    Path("net.prototxt").write_text("".join(layers) + LAYERS)
    Path("run.solver").write_text(SOLVER)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


OTHER_CLASSES = [
    (["a", "b", "c"], ["a", "c"], "test: the class c is number 1 here, but number 2 in train (2 and 3 classes)"),
    (["a", "b"], ["a", "b", "c"], "test: the class c is number 2 here, but no class in train (3 and 2 classes)"),
    (["a", "b"], ["A", "b"], "test: the class A is number 0 here, but no class in train (2 and 2 classes)"),
    (["a", "b", "c"], ["a", "b", "c"], ""),
    (["a", "b", "c"], ["a", "b"], ""),
]


@pytest.mark.parametrize(("train", "test", "said"), OTHER_CLASSES)
def test_folders_that_number_classes_otherwise_are_refused(train: list[str], test: list[str], said: str) -> None:
    """A run, and a check of its net or solver, names the first class that has another number in TEST."""
    write_folder(Path("train"), train)
    write_folder(Path("test"), test)
    write_net()
    for file in ("net.prototxt", "run.solver"):
        errors = [place.place for report in check([file]) for place in report.findings if place.severity == ERROR]
        assert [error.reason for error in errors] == [said] * bool(said)
        assert all("TEST" in error.source_line for error in errors)
    if said:
        with pytest.raises(DataError) as caught:
            Solver("run.solver")
        assert str(caught.value) == said
    else:
        Solver("run.solver").close()


def test_a_list_says_nothing_of_classes() -> None:
    """Labels of a list have no names, so that a folder cannot be held against it."""
    write_folder(Path("train"), ["a", "b"])
    write_folder(Path("images"), ["c"])
    Path("test").write_text("images/c/0.png 1\nimages/c/1.png 0\n")
    write_net()
    Solver("run.solver").close()


def rename_class(folder: Path) -> None:
    """Class 1 gets another name."""
    (folder / "b").rename(folder / "bee")


def add_image(folder: Path) -> None:
    """One image more."""
    shutil.copy(folder / "a" / "0.png", folder / "a" / "9.png")


def rename_image(folder: Path) -> None:
    """An image that comes in another place."""
    (folder / "a" / "0.png").rename(folder / "a" / "9.png")


def copy(folder: Path) -> None:
    """The same files with other times."""
    for file in folder.rglob("*"):
        os.utime(file, (1, 1))


OTHERS = "the names, order, labels or sizes of its {} records are others than they were"
CHANGES: list[tuple[str, Callable[[Path], None], str]] = [
    ("folder", rename_class, "class 1 was b, now bee"),
    ("folder", add_image, "it had 4 records, now 5"),
    ("folder", rename_image, OTHERS.format(4)),
    ("folder", copy, ""),
    ("list", lambda _: write_list([0, 1, 2]), "it had 4 records, now 3"),
    ("list", lambda _: write_list([0, 1, 3, 2]), OTHERS.format(4)),
    ("list", copy, ""),
    ("lmdb", lambda _: write_store([0, 1, 2]), "it had 4 records, now 3"),
    ("lmdb", lambda _: write_store([0, 1, 2, 7]), OTHERS.format(4)),
    ("lmdb", lambda _: write_store([0, 1, 2, 3]), ""),
]


def write_list(order: list[int]) -> None:
    """A list of the images in the folder."""
    Path("list").write_text("".join(f"train/{'ab'[index // 2]}/{index % 2}.png {index % 2}\n" for index in order))


def write_store(keys: list[int]) -> None:
    """An LMDB with some records, in place of one that is there."""
    shutil.rmtree("lmdb", ignore_errors=True)
    value = raw_datum(np.zeros((3, 4, 4), np.uint8), 0).SerializeToString()
    write_lmdb(Path("lmdb"), [(b"%d" % key, value) for key in keys])


@pytest.mark.parametrize(("source", "change", "said"), CHANGES)
def test_a_resume_tells_of_changed_data(
    source: str, change: Callable[[Path], None], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A line for each data layer says what its set was and is, where it is not that of the snapshot; a copy is."""
    write_folder(Path("train"), ["a", "b"])
    write_list([0, 1, 2, 3])
    write_store([0, 1, 2, 3])
    place = {"folder": "train"}.get(source, source)
    write_net(source, place, place)
    run = Solver("run.solver")
    run.step(1)
    run.snapshot()
    run.close()
    change(Path("train"))
    resumed = Solver("run.solver", fresh=False)
    resumed.resume()
    resumed.close()
    lines = [record.getMessage() for record in caplog.records if "not that of the snapshot" in record.getMessage()]
    told = 'the data of layer "data" ({}) is not that of the snapshot: {}'
    assert lines == [told.format(net, said) for net in ("train", "test 0")] * bool(said)


SHARES = [
    ("0.2 0.3 0.5 0", "0 1 0 0", ""),
    ("0 1 0 0", "0 5 7 0", "list: line 2 (train/a/1.png) has the labels 0, 5, 7, 0, but layer 'loss' takes several"),
    ("1 -1 1 0", "0 1 0 0", "list: line 1 (train/a/0.png) has the labels 1, -1, 1, 0, but layer 'loss' takes several"),
]


@pytest.mark.parametrize(("first", "second", "said"), SHARES)
@pytest.mark.parametrize("cache", ["AUTO", "OFF"])
def test_labels_that_are_no_shares_are_refused(first: str, second: str, said: str, cache: str) -> None:
    """Several labels an image are shares of the classes to SoftmaxWithLoss; the first that are none are named before
    the first iteration."""
    write_folder(Path("train"), ["a"])
    Path("list").write_text(f"train/a/0.png {first}\ntrain/a/1.png {second}\n")
    write_net("list", "list", "list")
    net = Path("net.prototxt")
    net.write_text(net.read_text().replace("batch_size", f"labels: 4 cache: {cache} batch_size"))
    if said:
        with pytest.raises(DataError) as caught:
            Solver("run.solver")
        assert str(caught.value).startswith(said)
    else:
        Solver("run.solver").close()


@pytest.mark.parametrize("source", ["folder", "lmdb"])
def test_a_set_is_decoded_before_signals_are_caught(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while a set is decoded once ends the program as it ends any other: there is no run yet to be saved."""
    write_folder(Path("train"), ["a", "b"])
    write_store([0, 1, 2, 3])
    place = {"folder": "train"}.get(source, source)
    write_net(source, place, place)
    part = Records._part

    def interrupted(records: Records, start: int, whole: Pixels | None = None) -> Set:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)
        return part(records, start, whole)

    monkeypatch.setattr(Records, "_part", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            Solver("run.solver")
    finally:
        signal.signal(signal.SIGINT, before)
    assert not list(Path().glob("run*iter*"))
