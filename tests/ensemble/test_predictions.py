"""Predictions files, and counts of their classes."""

from pathlib import Path

import numpy as np
import pytest
from planted import scores

from netspec.ensemble import read_counts, write_predictions
from netspec.errors import DataError, SnapshotError

KEYS = [
    (("test_0.JPEG", "test_1.JPEG"), ["test_0.JPEG", "test_1.JPEG"]),
    (("test/images/test_0.JPEG", "val/test_1.JPEG"), ["test_0.JPEG", "test_1.JPEG"]),
    (("00000000_test_0.JPEG", "00000001_a/test_1.JPEG"), ["test_0.JPEG", "test_1.JPEG"]),
    (("00000001_test_1.JPEG", "00000000_test_0.JPEG"), ["test_1.JPEG", "test_0.JPEG"]),
    (("00000000", "00000001"), ["00000000", "00000001"]),
    (("20190101_120000.jpg", "20190102_120000.jpg"), ["20190101_120000.jpg", "20190102_120000.jpg"]),
    (("00000000_test_0.JPEG", "test_1.JPEG"), ["00000000_test_0.JPEG", "test_1.JPEG"]),
]


@pytest.mark.parametrize(("keys", "files"), KEYS, ids=[keys[0] for keys, _ in KEYS])
def test_a_line_has_a_file_and_a_class(keys: tuple[str, ...], files: list[str], tmp_path: Path) -> None:
    """Folders and the number of convert_imageset are no part of a file's name; a wnid is enough for a class."""
    names = ("n01443537 goldfish, Carassius auratus", "n01629819")
    write_predictions(scores([[0.1, 0.9], [0.6, 0.4]], keys=keys, classes=names), tmp_path / "out.txt")
    assert (tmp_path / "out.txt").read_text() == f"{files[0]} n01629819\n{files[1]} n01443537\n"


@pytest.mark.parametrize(("classes", "written"), [((), "1"), (("cat", "dog"), "dog"), (("cat", ""), "1")])
def test_a_class_without_wnid_is_named(classes: tuple[str, ...], written: str, tmp_path: Path) -> None:
    """By its name, or else its number."""
    write_predictions(scores([[0.1, 0.9]], classes=classes), tmp_path / "out.txt")
    assert (tmp_path / "out.txt").read_text() == f"0.png {written}\n"


def test_two_images_of_one_name_are_refused(tmp_path: Path) -> None:
    """One would not know whose prediction is whose."""
    with pytest.raises(DataError, match=r"a\.npz: two images are named x\.png: a predictions file cannot tell"):
        write_predictions(scores(np.eye(2), keys=("a/x.png", "b/x.png")), tmp_path / "out.txt")
    assert not (tmp_path / "out.txt").exists()


def test_counts_are_read_by_class(tmp_path: Path) -> None:
    """In any order, as the predictions file names the classes."""
    (tmp_path / "counts.txt").write_text("n02 7\nn01443537 2.5\n")
    assert read_counts(tmp_path / "counts.txt", scores([[1, 0]], classes=("n01443537 goldfish", "n02"))) == (2.5, 7)
    (tmp_path / "counts.txt").write_text("1 3\n\n0\t4\n")
    assert read_counts(tmp_path / "counts.txt", scores([[1, 0]])) == (4, 3)


def test_a_class_without_a_name_needs_no_count(tmp_path: Path) -> None:
    """It is none that the net was trained on."""
    (tmp_path / "counts.txt").write_text("grey cat 7\n3 1\n")
    assert read_counts(tmp_path / "counts.txt", scores([[1, 0, 0, 0]], classes=("grey cat", "1", "", "3"))) == (
        7,
        0,
        0,
        1,
    )


WRONG = [
    ("cat 1\nowl 2\n", ':2: "owl 2" is no class of a.npz and its count'),
    ("cat 1\ndog many\n", ':2: "dog many" is no class of a.npz and its count'),
    ("cat 1\ncat 1\ndog 1\n", ":2: cat has a count already"),
    ("cat 1\n", ": there is no count for dog"),
    ("cat -1\ndog 1\n", ':1: "cat -1" is no class of a.npz and its count'),
    ("cat 1\ndog inf\n", ':2: "dog inf" is no class of a.npz and its count'),
    ("cat nan\ndog 1\n", ':1: "cat nan" is no class of a.npz and its count'),
    ("", ": there is no count for cat"),
    ("7\n", ':1: "7" is no class of a.npz and its count'),
]


@pytest.mark.parametrize(("text", "message"), WRONG, ids=[message for _, message in WRONG])
def test_wrong_counts_are_refused(text: str, message: str, tmp_path: Path) -> None:
    """The message has the file, the line and the cause."""
    path = tmp_path / "counts.txt"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        read_counts(path, scores([[1, 0]], classes=("cat", "dog")))
    assert str(caught.value) == f"{path}{message}"


def test_a_missing_file_of_counts_is_refused(tmp_path: Path) -> None:
    """The message has the path."""
    with pytest.raises(SnapshotError, match=r"counts\.txt: there is no such file"):
        read_counts(tmp_path / "counts.txt", scores([[1, 0]]))
