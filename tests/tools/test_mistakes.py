"""What a user sees who makes a mistake: one message from tools/solve.py, exit status 1, no traceback."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from netspec.data import LmdbStore, write_lmdb
from netspec.schema.netspec_pb2 import Datum

TOOL = Path(__file__).parents[2] / "tools" / "solve.py"

NET = """
layer { name: "data" type: "Data" top: "data" top: "label"
  transform_param { crop_size: 6 }
  data_param { source: "records" batch_size: 4 backend: LMDB } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 3 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
SOLVER = 'net: "net.prototxt" base_lr: 0.01 lr_policy: "fixed" max_iter: 3 snapshot_prefix: "run" solver_mode: CPU\n'


def records(labels: tuple[int, ...] = (0, 1, 2, 1, 0)) -> list[tuple[bytes, bytes]]:
    """Small raw grey images with these labels."""
    random = np.random.default_rng(0)
    datums = [Datum(channels=1, height=8, width=8, data=random.bytes(64), label=label) for label in labels]
    return [(f"{index:08d}".encode(), datum.SerializeToString()) for index, datum in enumerate(datums)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a net, a solver and an LMDB that train as they are."""
    (tmp_path / "net.prototxt").write_text(NET)
    (tmp_path / "net.solver").write_text(SOLVER)
    write_lmdb(tmp_path / "records", records())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def solve(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    """Run tools/solve.py on net.solver; what it ends with: a message, or its exit status as text."""
    monkeypatch.setattr(sys, "argv", [str(TOOL), "net.solver", *arguments])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(TOOL), run_name="__main__")
    return str(end.value)


def replace(file: str, old: str, new: str) -> Callable[[Path], None]:
    """A mistake in a text."""

    def make(folder: Path) -> None:
        text = (folder / file).read_text()
        assert old in text
        (folder / file).write_text(text.replace(old, new, 1))

    return make


def store(*labels: int, key: bytes = b"", value: bytes = b"") -> Callable[[Path], None]:
    """Other records, the one with `key` replaced by `value`."""

    def make(folder: Path) -> None:
        (folder / "records").rename(folder / "old")
        changed = {**dict(records(labels or (0, 1, 2))), **({key: value} if key else {})}
        write_lmdb(folder / "records", sorted(changed.items()))

    return make


def truncate(folder: Path) -> None:
    """An LMDB cut in half."""
    file = folder / "records" / "data.mdb"
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def empty(folder: Path) -> None:
    """An LMDB of no bytes, as a full disk leaves it."""
    (folder / "records" / "data.mdb").write_bytes(b"")


JPEG = Datum(encoded=True, data=b"\xff\xd8\xff\xe0 no picture", label=1).SerializeToString()

MISTAKES = {
    "typo in a field": (
        replace("net.prototxt", "num_output", "num_ouput"),
        ["net.prototxt:5:88: InnerProductParameter has no field", 'did you mean "num_output"?'],
    ),
    "typo in an enum": (
        replace("net.prototxt", "LMDB }", "LMBD }"),
        ["net.prototxt:4:57: LMBD is none of LEVELDB, LMDB", 'did you mean "LMDB"?'],
    ),
    "typo in a layer type": (
        replace("net.prototxt", '"InnerProduct"', '"InerProduct"'),
        ['net.prototxt:5:20: there is no layer type "InerProduct"', 'did you mean "InnerProduct"?'],
    ),
    "typo in a bottom": (
        replace("net.prototxt", 'bottom: "ip"', 'bottom: "ipp"'),
        ['net.prototxt:6:46: no layer makes the blob "ipp"', 'did you mean "ip"?'],
    ),
    "a missing brace": (
        replace("net.prototxt", "num_output: 3 } }", "num_output: 3 }"),
        ['net.prototxt:5:7: the "{" of "layer" is never closed'],
    ),
    "a missing LMDB": (
        replace("net.prototxt", '"records"', '"recordz"'),
        ['net.prototxt:4:16: layer "data": "recordz" is not there'],
    ),
    "a truncated LMDB": (truncate, ["records/data.mdb is cut short: "]),
    "an empty LMDB file": (empty, ["data.mdb is empty (0 bytes)"]),
    "a corrupt JPEG": (
        store(0, 1, 2, key=b"00000001", value=JPEG),
        ["records: record 1 (key '00000001')", "decode"],
    ),
    "no Datum": (store(0, 1, 2, key=b"00000001", value=b"\xff\xff"), ["record 1 (key '00000001') is no Datum"]),
    "a label outside the classes": (
        store(0, 1, 3, 2),
        ["record 2 (key '00000002') has the label 3, but layer 'loss' knows 0 to 2"],
    ),
    "a crop larger than the image": (
        replace("net.prototxt", "crop_size: 6", "crop_size: 9"),
        ['net.prototxt:3:21: layer "data": crop_size 9 is larger than the images, 1x8x8'],
    ),
    "a net that is not there": (
        replace("net.solver", "net.prototxt", "nte.prototxt"),
        ['net.solver:1:1: there is no net file "nte.prototxt"', 'did you mean "net.prototxt"?'],
    ),
    "a solver typo": (replace("net.solver", "base_lr", "bas_lr"), ["net.solver:1:21: SolverParameter", '"base_lr"?']),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gets_one_clear_message(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every mistake ends the tool with a message that says where it is and what was expected."""
    make, expected = MISTAKES[name]
    make(folder)
    message = solve(monkeypatch)
    assert message.startswith("error: ")
    assert len(message) < 400
    for part in expected:
        assert part in message


def test_the_folder_trains_without_a_mistake(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The texts and records that the mistakes are made in are right as they are."""
    assert solve(monkeypatch) == "0"
    assert Path("run_iter_3.solverstate").is_file()


def test_a_missing_solver_names_the_nearest_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A solver file that is not there is an error with the nearest name."""
    (folder / "net.solver").rename(folder / "nets.solver")
    assert 'did you mean "nets.solver"?' in solve(monkeypatch)


def test_a_damaged_snapshot_is_refused_by_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot with a changed byte is not resumed from."""
    solve(monkeypatch)
    state = folder / "run_iter_3.solverstate"
    content = bytearray(state.read_bytes())
    content[len(content) // 2] ^= 1
    state.write_bytes(content)
    assert "run_iter_3.solverstate: damaged" in solve(monkeypatch, "--resume", str(state))
    assert "none of its snapshots can be used" in solve(monkeypatch, "--resume")


def test_a_snapshot_of_another_net_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot whose blobs have other shapes is refused, and so is a caffemodel that is none."""
    solve(monkeypatch)
    other = replace("net.prototxt", "num_output: 3", "num_output: 4")
    other(folder)
    message = solve(monkeypatch, "--resume", "run_iter_3.solverstate")
    assert "a snapshot of another net" in message and "(3, 36)" in message and "(4, 36)" in message
    assert "there is no such file" in solve(monkeypatch, "--weights", "run_iter_9.caffemodel")
    assert "this is no caffemodel" in solve(monkeypatch, "--weights", "net.solver")


@pytest.mark.parametrize("device", ["cuda:99", "warp"])
def test_a_device_that_is_not_there_is_said(device: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--device with a device that this machine lacks, or nobody has, is an error that names it."""
    assert f'the device "{device}" cannot be used' in solve(monkeypatch, "--device", device)


def test_nothing_to_resume_from_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--resume without a snapshot names the pattern it looked for."""
    assert "run_iter_*.solverstate: there is no snapshot to resume from" in solve(monkeypatch, "--resume")


def test_data_that_fails_late_costs_no_progress(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that cannot be read in the middle of a run ends it with a snapshot of what was learnt."""
    store(0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, key=b"00000010", value=JPEG)(folder)
    replace("net.prototxt", "batch_size: 4", "batch_size: 4 cache: OFF prefetch: 1")(folder)
    assert "record 10" in solve(monkeypatch)
    assert Path("run_iter_2.solverstate").is_file()
    assert len(LmdbStore(folder / "records")) == 12
