"""The report: its tables, its pictures and its summary."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from netspec import NetspecError
from netspec.evaluation import (
    confusion,
    drawing,
    named,
    pictures,
    refuse_unwritable_report,
    summary,
    write_report,
)
from netspec.evaluation.names import class_words
from netspec.scores import Scores

TABLES = ["per_class.csv", "confusion.csv", "worst.csv"]
PICTURES = ["confusion.png", "calibration.png"]


def rows_of(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_the_tables(worked: Scores, tmp_path: Path) -> None:
    """What the matrix says stands in the tables; what has no cases stays empty."""
    pytest.importorskip("matplotlib")
    files = write_report(tmp_path / "new" / "report", worked)
    assert [file.name for file in files] == [*TABLES, *PICTURES] and all(file.is_file() for file in files)
    per_class, matrix, worst = (rows_of(tmp_path / "new" / "report" / name) for name in TABLES)
    assert per_class[1][:6] == ["0", "cat", "4", "2", "2", "0.5000"] and per_class[1][8:] == ["1.0000", "dog", "1"]
    assert per_class[2] == ["1", "dog", "3", "2", "1", "0.3333", "0.0615", "0.7923", "0.5000", "fish", "2"]
    assert per_class[3] == ["2", "fish", "0", "3", "0", "", "", "", "0.0000", "", "0"]
    assert matrix[0] == ["label / prediction", "0 cat", "1 dog", "2 fish"]
    assert matrix[1:] == [["0 cat", "2", "1", "1"], ["1 dog", "0", "1", "2"], ["2 fish", "0", "0", "0"]]
    assert worst[1] == ["image 2", "0 cat", "1 dog", "1.0000"] and len(worst) == 5


def test_the_summary(worked: Scores) -> None:
    """A few lines have what matters, classes in words; a top-5 of three classes is none."""
    lines = summary(worked).splitlines()
    assert lines[0] == "7 images of 3 classes"
    assert lines[1] == "accuracy 0.4286 (95 %: 0.1582 to 0.7495)"
    assert lines[2].startswith("negative log likelihood 49.9066, Brier score 1.1429, ")
    assert lines[3] == "worst classes: 1 dog (1 of 3), 0 cat (2 of 4)"
    assert (
        lines[4] == "most often taken: 1 dog for 2 fish (2 of 3), 0 cat for 1 dog (1 of 4), 0 cat for 2 fish (1 of 4)"
    )


def test_the_summary_of_many_classes(made: Callable[..., Scores]) -> None:
    """From six classes on there is a top-5; where nothing is wrong that is said."""
    assert "\ntop-5 1.0000 (95 %: " in summary(made(np.eye(6), range(6)))
    assert summary(made(np.eye(6), range(6))).endswith("\nevery image is right")


@pytest.mark.parametrize(
    ("classes", "known", "words"),
    [
        (("n00000001 cat, pussy", "n00000002", "the dog"), {0: "else"}, ("cat", "n00000002", "the dog")),
        ((), {0: "cat", 2: "dog", 7: "far"}, ("cat", "", "dog")),
        ((), {7: "far"}, ("", "", "")),
    ],
)
def test_names(
    made: Callable[..., Scores], classes: tuple[str, ...], known: dict[int, str], words: tuple[str, ...]
) -> None:
    """Classes have the names of the score file in short, else those that the data tells."""
    assert class_words(named(made([[0, 0, 1]], [0], classes=classes), known)) == words


@pytest.mark.parametrize("classes", [2, 31, 200])
def test_the_matrix_can_be_read(tmp_path: Path, made: Callable[..., Scores], classes: int) -> None:
    """Each class has a cell with room for a line of letters, and any name is drawn as it stands."""
    pytest.importorskip("matplotlib")
    labels = np.arange(classes)
    write_report(tmp_path, made(np.eye(classes), labels, classes=[r"$a$ \b %"] * classes))
    with Image.open(tmp_path / "confusion.png") as picture:
        colours = np.asarray(picture.convert("RGB")).astype(int)
    assert max(colours.shape) <= 3500
    blue = colours[..., 2] - colours[..., 0] > 70
    assert (blue.sum() / classes) ** 0.5 >= 12  # the side of a cell of the diagonal


def test_classes_that_do_not_occur_are_not_drawn(
    made: Callable[..., Scores], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many classes those that are a label or a prediction have a row and a column, by their own numbers."""
    pytest.importorskip("matplotlib")
    titles: list[list[str]] = []
    monkeypatch.setattr(drawing, "_name_classes", lambda axes, names, letters: titles.append(names))
    scores = made(np.eye(300)[[7, 200, 200]], [7, 200, 299])
    drawing.draw_confusion(confusion(scores), [f"name {n}" for n in range(300)], tmp_path / "a.png")
    assert titles == [["7 name 7", "200 name 200", "299 name 299"]]


def test_names_are_left_out_where_they_have_no_room() -> None:
    """An axis has a name for each of 200 classes, and for some of 1000."""
    pytest.importorskip("matplotlib")
    for classes, count in ((200, 200), (1000, 200)):
        axes = drawing.figure(3, 3).subplots()
        drawing._name_classes(axes, [""] * classes, 5)
        assert len(axes.get_xticks()) == len(axes.get_yticks()) == count


def test_the_sheet(worked: Scores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The images asked for are those wrongly predicted; captions have the label, then probability and prediction, each
    in a line that fits. Without a wrong image the sheet of an earlier report goes."""
    pytest.importorskip("matplotlib")
    drawn = []
    monkeypatch.setattr(pictures, "draw_sheet", lambda sections, out: drawn.extend(sections))
    asked: list[list[int]] = []

    def images(rows: Sequence[int]) -> NDArray[np.uint8]:
        asked.append(list(rows))
        return np.zeros((len(rows), 3, 4, 4), np.uint8)

    long = named(
        Scores(worked.scores, worked.keys, worked.labels, kind="softmax"), {0: "the very long cat", 1: "a" * 40}
    )
    assert [file.name for file in write_report(tmp_path, long, images)] == [*TABLES, *PICTURES, "worst.png"]
    assert asked == [[2, 3, 5, 6]]
    assert drawn[0].captions[:2] == ["the very long cat\n1.00: aaaaaaaaa..", "the very long cat\n1.00: 2"]
    (tmp_path / "worst.png").write_bytes(b"old")
    right = Scores(np.eye(3, dtype=np.float32), ("a", "b", "c"), np.arange(3))
    assert [file.name for file in write_report(tmp_path, right, images)] == [*TABLES, *PICTURES]
    assert len(asked) == 1 and not (tmp_path / "worst.png").exists()


def test_a_folder_that_cannot_be_written(worked: Scores, tmp_path: Path) -> None:
    """What stands in the way is told, before a pass too."""
    pytest.importorskip("matplotlib")
    (tmp_path / "file").write_text("")
    for use in (refuse_unwritable_report, lambda folder: write_report(folder, worked)):
        with pytest.raises(NetspecError, match=r"file: the folder cannot be made: File exists$"):
            use(tmp_path / "file")
    (tmp_path / "confusion.csv").mkdir()
    with pytest.raises(NetspecError, match=r"confusion\.csv: cannot be written: "):
        write_report(tmp_path, worked)


def test_a_folder_without_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of somebody else's is refused."""
    pytest.importorskip("matplotlib")
    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(NetspecError, match=r"the folder cannot be written to$"):
        refuse_unwritable_report(tmp_path)


def test_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An install without matplotlib is told what to install, and no folder is made."""
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    with pytest.raises(NetspecError, match=r"^matplotlib is not installed: pip install 'netspec\[plot\]'$"):
        refuse_unwritable_report(tmp_path / "report")
    assert not (tmp_path / "report").exists()
