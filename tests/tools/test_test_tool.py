"""tools/test.py: what it prints and writes, and what it says of a mistake."""

from __future__ import annotations

import runpy
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from netspec import Net
from netspec.scores import Scores

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / "tools"
TRAINING = ROOT / "tests" / "golden" / "training"
TESTED = [str(TRAINING / "net.prototxt"), "--weights", str(TRAINING / "run_iter_100.caffemodel")]

SCORELESS = """
layer { name: "data" type: "DummyData" top: "data" top: "wanted"
  dummy_data_param { shape { dim: 2 dim: 3 } shape { dim: 2 dim: 2 dim: 5 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 10 } }
layer { name: "rows" type: "Reshape" bottom: "ip" top: "rows" reshape_param { shape { dim: 0 dim: 2 dim: 5 } } }
layer { name: "loss" type: "EuclideanLoss" bottom: "rows" bottom: "wanted" top: "loss" }
"""


UNLABELLED = """
layer { name: "data" type: "DummyData" top: "data" dummy_data_param { shape { dim: 2 dim: 3 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 10 } }
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with a cache of its own."""
    monkeypatch.setenv("NETSPEC_CACHE", str(tmp_path / "cache"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["test.py", *arguments])
    runpy.run_path(str(TOOLS / "test.py"), run_name="__main__")


def scored(count: int = 297, labels: bool = True) -> Scores:
    """Scores of ten classes, all of them sure of the first."""
    rows = np.eye(10, dtype=np.float32)[np.zeros(count, int)]
    return Scores(rows, tuple(f"{n:08}" for n in range(count)), np.arange(count) % 10 if labels else None)


def test_a_net_alone(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    """Without a report the means of the outputs are all that is printed, and nothing is written."""
    run(monkeypatch, *TESTED)
    first, *lines = capsys.readouterr().out.splitlines()
    assert first.endswith(" layers copied, not used: none")
    assert [line.partition(" = ")[0] for line in lines] == ["accuracy", "loss"] and not [*folder.iterdir()]


def test_some_batches(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """As in Caffe, so many batches may be taken."""
    run(monkeypatch, *TESTED, "--iterations", "9")
    assert "accuracy = " in capsys.readouterr().out


def test_a_report(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    """Its figures are those of the net's own outputs, and its files are there, a sheet of images among them."""
    pytest.importorskip("matplotlib")
    run(monkeypatch, *TESTED, "--report", "report")
    lines = capsys.readouterr().out.splitlines()
    accuracy, loss = (line.split()[2] for line in lines[1:3])
    assert lines[3] == "297 images of 10 classes" and lines[4].startswith(f"accuracy {float(accuracy):.4f} (95 %: ")
    assert lines[6].startswith(f"negative log likelihood {float(loss):.4f}, ")
    names = ["per_class.csv", "confusion.csv", "worst.csv", "confusion.png", "calibration.png", "worst.png"]
    assert lines[-1] == f"report: {', '.join(names)}"
    assert sorted(path.name for path in (folder / "report").iterdir()) == sorted(names)
    assert Image.open("report/worst.png").format == "PNG"


def test_a_score_file(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Scores need no net; with a report they have no sheet of images then."""
    pytest.importorskip("matplotlib")
    scored().save("a.npz")
    run(monkeypatch, "--scores", "a.npz")
    assert capsys.readouterr().out.startswith("297 images of 10 classes\naccuracy 0.1010 (95 %: ")
    run(monkeypatch, "--scores", "a.npz", "--report", "report")
    assert capsys.readouterr().out.endswith("worst.csv, confusion.png, calibration.png\n")


def test_a_score_file_with_its_net(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With the net whose data was scored the report has the sheet; the net needs no weights."""
    pytest.importorskip("matplotlib")
    net = Net(TESTED[0])
    labels = np.concatenate([tops[1].numpy() for tops in net.sources[0][1].once()]).astype(np.int64)
    net.close()
    replace(scored(), labels=labels).save("a.npz")
    run(monkeypatch, TESTED[0], "--scores", "a.npz", "--report", "report")
    assert capsys.readouterr().out.endswith("confusion.png, calibration.png, worst.png\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give a net and --weights, or --scores"),
        (TESTED[:1], "give a net and --weights, or --scores"),
        (["--weights", "w"], "give a net and --weights, or --scores"),
        ([*TESTED, "--scores", "a.npz"], "--scores takes the place of --weights and --iterations"),
        (["--scores", "a.npz", "--iterations", "1"], "--scores takes the place of --weights and --iterations"),
        ([TESTED[0], "--scores", "a.npz"], "with --scores a net is only for the images in the report (--report)"),
        ([*TESTED, "--report", "r", "--iterations", "1"], "a report is on every record once: leave out --iterations"),
        ([*TESTED, "--iterations", "0"], "--iterations must be at least 1"),
        ([*TESTED, "--report", "file"], "error: file: the folder cannot be made: File exists"),
        (["--scores", "none.npz"], "error: none.npz: there is no such score file"),
        (["--scores", "unlabelled.npz"], "error: unlabelled.npz: the images have no labels to hold the scores against"),
        (
            [TESTED[0], "--scores", "few.npz", "--report", "r"],
            'few.npz: layer "data" gives 297 images, the scores are of 3',
        ),
        ([TESTED[0], "--scores", "a.npz", "--report", "r"], "a.npz: these are no scores of this data: 000"),
        (["scoreless.prototxt", "--weights", "w.caffemodel", "--report", "r"], "error: scoreless.prototxt"),
        (
            ["unlabelled.prototxt", "--weights", "ip.caffemodel", "--report", "r"],
            "error: unlabelled.prototxt:1:1: its images have no labels to report on",
        ),
    ],
)
def test_a_mistake_is_one_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    """What is wrong is said at the end of the program, without a traceback, before a net is tested."""
    pytest.importorskip("matplotlib")
    Path("file").write_text("")
    Path("scoreless.prototxt").write_text(SCORELESS)
    Path("unlabelled.prototxt").write_text(UNLABELLED)
    Net("unlabelled.prototxt").save("ip.caffemodel")
    for name, scores in (("a", scored()), ("unlabelled", scored(labels=False)), ("few", scored(3))):
        scores.save(f"{name}.npz")
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, *arguments)
    printed = capsys.readouterr()
    message = f"{ended.value.code}{printed.err}"
    assert said in message and "Traceback" not in message and "accuracy = " not in printed.out
