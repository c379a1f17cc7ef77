"""What is said of a source that another layer reads, and of a list that is written in another way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from google.protobuf import text_format
from PIL import Image

from netspec.data import write_lmdb
from netspec.data.datum import raw_datum
from netspec.data.mean_of_source import mean_report
from netspec.errors import DataError
from netspec.layers.base import LayerError
from netspec.layers.sources import SOURCE_TYPES, SourceContext
from netspec.schema.netspec_pb2 import TEST, TRAIN, LayerParameter

NO_IMAGES = "the folder holds no images (.jpg, .jpeg, .png, .bmp), nor folders of them: it "


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with an LMDB, images in folders of classes, an HDF5 file, and lists of the images."""
    monkeypatch.chdir(tmp_path)
    write_lmdb(Path("lmdb"), [(b"0", raw_datum(np.zeros((3, 6, 6), np.uint8), 0).SerializeToString())])
    Path("images/cat").mkdir(parents=True)
    Image.new("RGB", (6, 6)).save("images/cat/a.png")
    Path("hdf5").mkdir()
    with h5py.File("hdf5/0.h5", "w") as file:
        file["data"] = np.zeros((1, 3, 6, 6))


def opened(kind: str, source: str, fields: str = "", transform: str = "", phase: int = TRAIN) -> None:
    """Open a layer of a type on a source."""
    field = "data_param" if kind == "Data" else "image_data_param"
    text = f"{field} {{ source: '{source}' batch_size: 1 {fields} }} transform_param {{ {transform} }}"
    param = text_format.Parse(f"name: 'data' type: '{kind}' top: 'data' top: 'label' {text}", LayerParameter())
    SOURCE_TYPES[kind](param, SourceContext(phase))


SOURCES: list[tuple[Callable[[], object], str]] = [
    (lambda: opened("ImageData", "lmdb"), f"lmdb: {NO_IMAGES}is a database, which a Data layer reads"),
    (
        lambda: opened("Data", "images"),
        "images holds no data.mdb, so it is no LMDB but a folder of images, which an ImageData layer reads",
    ),
    (
        lambda: opened("Data", "images/cat"),
        "images/cat holds no data.mdb, so it is no LMDB but a folder of images, which an ImageData layer reads",
    ),
    (lambda: opened("Data", "hdf5"), "hdf5 holds no data.mdb, so it is no LMDB"),
    (
        lambda: mean_report(Path("hdf5")),
        f"hdf5: {NO_IMAGES}holds HDF5 files, whose rows an HDF5Data layer reads as they are, by a list of them",
    ),
]


@pytest.mark.parametrize(("read", "said"), SOURCES)
def test_what_reads_a_source_is_named(read: Callable[[], object], said: str) -> None:
    """A source of another kind is refused with the layer that reads it."""
    with pytest.raises(DataError) as caught:
        read()
    assert str(caught.value) == said


LISTS = [
    ("images/cat/a.png,3", "", "list: line 1: a label comes after a space, not a comma: images/cat/a.png,3"),
    ("images/cat/a.png\t3", "", "list: line 1: a label comes after a space, not a tab: images/cat/a.png\t3"),
    ("images/cat/a.png, 3", "", "; a label comes after a space alone"),
    ("images/cat/a.png 0 5", "", "; where a line ends with 2 labels, write labels: 2"),
    ("images/cat/a.png 0 5 1", "labels: 2", "; where a line ends with 3 labels, write labels: 3"),
    ("cat/a.png 0", "root_folder: 'images'", "; root_folder stands before a name as it is: end it with a slash"),
    ("cat/b.png 0", "root_folder: 'images'", " (1 of 1 files are missing)"),
    ("cat/b.png 0", "root_folder: 'images/'", " (1 of 1 files are missing)"),
]


@pytest.mark.parametrize(("line", "fields", "said"), LISTS)
def test_a_list_that_is_written_otherwise(line: str, fields: str, said: str) -> None:
    """A line that is not as it must be is refused with what may have been meant."""
    Path("list").write_text(f"{line}\n")
    with pytest.raises(DataError) as caught:
        opened("ImageData", "list", fields)
    assert str(caught.value).endswith(said)


def test_a_crop_that_only_the_test_phase_makes_names_it() -> None:
    """Of images smaller than crop_size a random resized crop can be taken, but not TEST's centre crop: so it says."""
    transform = "crop_size: 8 random_resized_crop {}"
    opened("Data", "lmdb", transform=transform)
    with pytest.raises(LayerError) as caught:
        opened("Data", "lmdb", transform=transform, phase=TEST)
    said = "in TEST, which crops in the centre, crop_size 8 is larger than the images, 3x6x6; resize makes them larger"
    assert caught.value.reason == said
