"""What stops a run for one record says how to go on without it, and a user who stops it need not wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from netspec.data import records
from netspec.data.convert import convert
from netspec.data.folder_set import make
from netspec.data.form import Form
from netspec.data.image_files import image_files
from netspec.data.image_list import ImageFiles, ListedImages
from netspec.data.labels import Label
from netspec.data.list_file import read_listing
from netspec.data.mean_of_source import mean_report
from netspec.data.records import Pixels, Records
from netspec.errors import DataError

IN_A_LAYER = "; skip_damaged: N in the layer leaves up to N such records out"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of a class, and a list of it, with an image that is damaged."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NETSPEC_CACHE", str(tmp_path / "cache"))
    Path("images/a").mkdir(parents=True)
    for index in range(4):
        Image.new("RGB", (6, 6)).save(f"images/a/{index}.png")
    Path("images/a/2.png").write_bytes(b"no image")
    Path("list").write_text("".join(f"images/a/{index}.png 0\n" for index in range(4)))


def listed() -> ListedImages:
    """The images of the list."""
    return ListedImages(read_listing(Path("list"), 1), ImageFiles("", Path), None)


WAYS: list[tuple[Callable[[], object], str]] = [
    (lambda: Records(listed(), True).kept(), IN_A_LAYER),
    (lambda: Records(listed(), True, cache=records.DataParameter.OFF).fetch(np.array([2])), IN_A_LAYER),
    (
        lambda: convert(image_files(Path("list")), Path("lmdb"), Form()),
        "; --skip_damaged N leaves up to N such files out",
    ),
    (lambda: make(Path("set"), Path("images"), 0.3), "; --skip-damaged N leaves up to N such files out"),
    (lambda: mean_report(Path("list")), "not one of these"),
]


@pytest.mark.parametrize(("read", "said"), WAYS)
def test_damage_names_the_way_out(read: Callable[[], object], said: str) -> None:
    """An image that cannot be read is named with what leaves it out, where something does."""
    with pytest.raises(DataError, match=r"2\.png.*cannot decode") as caught:
        read()
    assert str(caught.value).endswith(said)


def test_a_changed_file_has_no_way_out() -> None:
    """A file that is another one by now is not to be left out as damaged."""
    made = Records(listed(), True)
    Path("images/a/1.png").write_bytes(b"something else")
    with pytest.raises(DataError) as caught:
        made.kept()
    assert "has changed" in str(caught.value) and "skip_damaged" not in str(caught.value)


class SlowImages(ListedImages):
    """Images that take a while, and of which one is where the user stops the program."""

    decoded = 0

    def __len__(self) -> int:
        return 1000

    def image(self, index: int, colour: bool | None = None) -> tuple[Pixels, Label]:
        self.decoded += 1
        if index == 5 and self.decoded > 1:
            raise KeyboardInterrupt
        time.sleep(0.01)
        return super().image(0, colour)


@pytest.mark.parametrize("limit", [1 << 28, 0])
def test_decoding_ends_at_once_when_it_is_stopped(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing more is decoded, nothing is written, and the threads are gone."""
    monkeypatch.setattr(records, "MEMORY_LIMIT", limit)
    store = SlowImages(read_listing(Path("list"), 1), ImageFiles("", Path), None)
    made, threads = Records(store, True), threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        made.kept()
    assert store.decoded < 500 and threading.active_count() <= threads
    assert [path for path in Path("cache").rglob("*") if path.is_file()] == []
