"""Score files."""

from pathlib import Path

import numpy as np
import pytest

from netspec.errors import DataError, SnapshotError
from netspec.scores import Scores, load_scores

VALUES = np.array([[1.0, 3.0, 2.0], [5.0, 5.0, 0.0]], np.float32)
LABELS = np.array([2, 1])


def scores(**changes: object) -> Scores:
    fields = {"scores": VALUES, "keys": ("a", "b"), "labels": LABELS, "classes": ("x", "y", "z")}
    return Scores(**{**fields, **changes})


@pytest.mark.parametrize("labels", [LABELS, None])
@pytest.mark.parametrize("classes", [("x", "y", "z"), ()])
@pytest.mark.parametrize("kind", ["raw", "softmax"])
def test_a_file_keeps_all(tmp_path: Path, labels: object, classes: tuple[str, ...], kind: str) -> None:
    """What is saved is what is loaded, and its origin is the file."""
    path = tmp_path / "folder" / "scores.npz"
    scores(labels=labels, classes=classes, kind=kind, net="1f").save(path)
    loaded = load_scores(path)
    assert (loaded.keys, loaded.classes, loaded.kind, loaded.origin) == (("a", "b"), classes, kind, str(path))
    assert (loaded.scores.dtype, loaded.net) == (np.float32, "1f")
    np.testing.assert_array_equal(loaded.scores, VALUES)
    assert (loaded.labels is None) == (labels is None)
    np.testing.assert_array_equal(LABELS if loaded.labels is None else loaded.labels, LABELS)


def test_the_best_class() -> None:
    """The prediction is the largest score, of equal ones the lowest class."""
    assert scores().predictions.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"scores": VALUES[0]}, r"scores are \(images, classes\), not \(3,\)"),
        ({"scores": VALUES[:0], "keys": ()}, r"scores are \(images, classes\), not \(0, 3\)"),
        ({"keys": ("a",)}, "1 keys for the scores of 2 images"),
        ({"labels": LABELS[:1]}, r"labels \(1,\) for the scores of 2 images"),
        ({"labels": LABELS + 1}, "a label is none of the classes 0 to 2"),
        ({"labels": LABELS - 2}, "a label is none of the classes 0 to 2"),
        ({"classes": ("x",)}, "1 names of classes for scores of 3"),
        ({"kind": "logits"}, 'kind "logits" is none of raw, softmax'),
        ({"scores": np.array([[1, 2, 3], [0, np.nan, 0]])}, "the scores of b are no numbers"),
        ({"scores": np.array([[1, np.inf, 3], [0, 0, 0]])}, "the scores of a are no numbers"),
    ],
)
def test_what_does_not_fit(changes: dict[str, object], reason: str) -> None:
    """Scores whose parts do not fit together are refused with the file's name."""
    with pytest.raises(DataError, match=rf"^x\.npz: {reason}$"):
        scores(**changes, origin="x.npz")


def test_files_that_are_none(tmp_path: Path) -> None:
    """A missing, damaged or other file is refused with its path."""
    path = tmp_path / "scores.npz"
    with pytest.raises(DataError, match=r"scores\.npz: there is no such score file"):
        load_scores(path)
    for content in (b"", b"no scores", b"\x93NUMPY"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"scores\.npz: no score file of tools/score\.py: it is no \.npz file$"):
            load_scores(path)
    np.savez(path, scores=VALUES)
    with pytest.raises(DataError, match=r"no score file of tools/score\.py: it has no 'keys'"):
        load_scores(path)
    for other in ({"scores": VALUES.astype(complex)}, {"labels": np.array([0.5, 1])}, {"scores": VALUES.astype(str)}):
        np.savez(path, **{"scores": VALUES, "keys": np.array(["a", "b"]), "kind": np.array("raw"), **other})
        with pytest.raises(DataError, match=r"scores\.npz: the score file cannot be read: .* where it has .*numbers$"):
            load_scores(path)
    scores().save(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"scores\.npz: the score file cannot be read"):
        load_scores(path)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    """A file that cannot be written is refused with its path."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SnapshotError, match=r"scores\.npz: cannot be written"):
        scores().save(tmp_path / "file" / "scores.npz")
