"""What the classes of scores are called."""

import logging
from pathlib import Path

import pytest

from netspec.errors import DataError
from netspec.schema.netspec_pb2 import DataParameter, ImageDataParameter, LayerParameter
from netspec.scoring.names import class_numbers, known_names, read_names


def database(path):
    return LayerParameter(data_param=DataParameter(source=str(path)))


def files(path):
    return LayerParameter(image_data_param=ImageDataParameter(source=str(path)))


def test_a_file_of_names(tmp_path):
    """A class a line; blank lines at the end do not count, others stand for a class without a name."""
    (tmp_path / "names").write_text("n1 cat, tom\n\nn3 cow\n\n\n")
    assert read_names(tmp_path / "names", 3) == ("n1 cat, tom", "", "n3 cow")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "the names of the classes cannot be read: No such file"),
        (b"a\nb\nc\nd\n", "4 names, but the net scores 3 classes"),
        (b"\n", "0 names, but the net scores 3 classes"),
        (b"\xff\xfe", "holds no names of classes: it is not text in UTF-8"),
    ],
)
def test_files_that_are_none(tmp_path, content, reason):
    """A file that is missing, too long, empty or no text is refused with its path."""
    if content is not None:
        (tmp_path / "names").write_bytes(content)
    with pytest.raises(DataError, match=rf"names:? {reason}"):
        read_names(tmp_path / "names", 3)


def test_names_beside_the_data(tmp_path):
    """labels.txt beside a database or a list has the names, as they stand there."""
    (tmp_path / "labels.txt").write_text("n1 cat, tom\nn2 dog\n")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "data.mdb").touch()
    (tmp_path / "list").touch()
    for layer in (database(tmp_path / "set"), database(tmp_path / "set" / "data.mdb"), files(tmp_path / "list")):
        assert known_names([layer], Path, 2) == ("n1 cat, tom", "n2 dog")


def test_names_of_folders(tmp_path):
    """A folder's classes have the names of its folders, in the order of wnids.txt, in words where these are known."""
    for name in ("train/n1/a.png", "train/n2/b.png", "val/images/c.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    (tmp_path / "wnids.txt").write_text("n2\nn1\n")
    (tmp_path / "words.txt").write_text("n0\tant\nn2\tdog, hound\n")
    (tmp_path / "val" / "val_annotations.txt").write_text("c.png\tn1\t0\t0\t1\t1\n")
    for part in ("train", "val"):
        assert known_names([files(tmp_path / part)], Path, 2) == ("n2 dog, hound", "n1")


def test_the_first_that_fits(tmp_path, caplog):
    """Names that are more than the classes are passed over with a warning, as is what is not there."""
    for name, text in (("ten", "x\n" * 10), ("two", "cat\ndog\n")):
        (tmp_path / name / "set").mkdir(parents=True)
        (tmp_path / name / "labels.txt").write_text(text)
    layers = [LayerParameter(), *(database(tmp_path / name / "set") for name in ("none", "ten", "ten", "two"))]
    with caplog.at_level(logging.WARNING, "netspec"):
        assert known_names(layers, Path, 2) == ("cat", "dog")
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}/ten/set: 10 names of classes, the net scores 2: not used"
    ]
    assert known_names([database(tmp_path / "none" / "set")], Path, 2) == ()


def test_classes_that_the_data_has_not(tmp_path):
    """A net that scores more classes than its data has keeps their names, and calls the others by their numbers."""
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    assert known_names([database(tmp_path / "set")], Path, 4) == ("cat", "dog", "2", "3")


def test_a_file_of_some_names(tmp_path, caplog):
    """Of a net that was trained on a part of its classes the others are numbers, with a warning."""
    (tmp_path / "names").write_text("cat\ndog\n")
    with caplog.at_level(logging.WARNING, "netspec"):
        assert read_names(tmp_path / "names", 4) == ("cat", "dog", "2", "3")
    assert "2 names, the net scores 4 classes: the others are numbers" in caplog.text


KNOWN = ("n00000001 crane, bird", "n00000002 crane", "n00000003 cat, tom", "3", "4")


@pytest.mark.parametrize(
    ("own", "numbers"),
    [
        (KNOWN, [0, 1, 2, 3, 4]),
        (("n00000003", "n00000001"), [2, 0]),
        (("n00000002 crane", "n00000001 heron"), [1, 0]),
        (("cat", "crane"), [2, 1]),
        (("crane", "crane", "cat", "owl"), [0, 1, 2, 3]),
        (("cat", "crane", "crane", "cat"), [2, 1, 0, 2]),
    ],
)
def test_classes_of_another_set(own, numbers):
    """They have the numbers that the net knows them by: by their wnids, else by their names; where two have one name,
    that in its own place. A class without a name may be any."""
    assert class_numbers(own, KNOWN, "set") == numbers


@pytest.mark.parametrize("own", [("owl",), ("n00000001", "n00000007"), ("n00000003 owl", "n00000009 cat")])
def test_classes_that_the_net_does_not_know(own):
    """The message has the set, the class and some of the net's."""
    with pytest.raises(
        DataError, match=rf'set: its class {len(own) - 1}, "{own[-1]}", is none of the net\'s: "n00000001 c'
    ):
        class_numbers(own, KNOWN, "set")
