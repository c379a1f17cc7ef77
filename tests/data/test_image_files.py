"""Image files with their labels, from lists and folders."""

import pytest

from netspec.data.image_files import image_files
from netspec.errors import DataError


@pytest.mark.parametrize(("root", "before"), [("root", "root/"), ("root/", "root/"), ("root/im", "root/im"), ("", "")])
def test_names_follow_the_root(root, before, tmp_path, monkeypatch):
    """Names lie below a folder, with its slash or without, or follow any other text, also none, as it is."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "root").mkdir()
    (tmp_path / "list.txt").write_text("a b.png 3\n\nc.png -1\n")
    files = image_files(tmp_path / "list.txt", root)
    assert [(file.name, str(file.path), file.labels) for file in files] == [
        ("a b.png", f"{before}a b.png", 3),
        ("c.png", f"{before}c.png", -1),
    ]


def test_several_labels(tmp_path):
    """So many numbers as are asked for end a line."""
    (tmp_path / "list.txt").write_text("a 1.png 3 0.5\n")
    assert image_files(tmp_path / "list.txt", "", 2)[0].labels == (3, 0.5)


def test_a_folder_of_classes(tmp_path):
    """The folders of a folder are its classes, by their names."""
    for name in ("b/2.png", "a/1.JPEG", "b/deep/3.bmp", "b/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    files = image_files(tmp_path)
    assert [(file.name, file.labels) for file in files] == [("a/1.JPEG", 0), ("b/2.png", 1), ("b/deep/3.bmp", 1)]
    assert all(file.path.is_file() for file in files)


@pytest.mark.parametrize(("line", "cause"), [("a.png 0.5", "class 0.5"), ("a.png 2147483648", "class 2147483648")])
def test_a_class_is_a_whole_number(line, cause, tmp_path):
    """A single label that a Datum cannot hold is refused with its line."""
    (tmp_path / "list.txt").write_text(f"b.png 1\n{line}\n")
    with pytest.raises(DataError, match=rf"list.txt: line 2 \(a.png\): the {cause} is no whole number of 32 bits"):
        image_files(tmp_path / "list.txt")


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        ({"root": "x/"}, "is a folder, .* a root and labels are for lists"),
        ({"labels": 2}, "is a folder, .* a root and labels are for lists"),
        ({"labels": 0}, "ends with 1 or more labels, not 0"),
        ({"labels": -1}, "ends with 1 or more labels, not -1"),
    ],
)
def test_options_without_a_meaning(options, cause, tmp_path):
    """What is for lists alone is refused for a folder, and a number of labels that is none."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").touch()
    with pytest.raises(DataError, match=cause):
        image_files(tmp_path, **options)


def test_images_without_labels_are_refused(tmp_path):
    """A folder of images alone has no labels to store."""
    (tmp_path / "a.png").touch()
    with pytest.raises(DataError, match="the images have no labels"):
        image_files(tmp_path)
