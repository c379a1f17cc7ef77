"""The images behind scores, from the data layer of the net."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from netspec import DataError, Net, parse_net
from netspec.data.datum import raw_datum
from netspec.data.lmdb_store import write_lmdb
from netspec.evaluation import Wrong, image_layer, pictures_of
from netspec.evaluation.pictures import draw_wrong
from netspec.scores import Scores

LAYER = """
layer {{ name: "{name}" type: "Data" top: "{name}" {label}
  transform_param {{ mean_value: 100 scale: 0.5 crop_size: 4 }}
  data_param {{ source: "{folder}/lmdb" batch_size: 3 backend: LMDB }} }}
"""
ROWS = np.zeros((7, 2)).tolist()
LABELS = [0, 1, 0, 1, 0, 1, 0]


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NDArray[np.uint8]:
    """Seven images in a database, of two classes in turn."""
    monkeypatch.setenv("NETSPEC_CACHE", str(tmp_path / "cache"))
    images = np.random.default_rng(0).integers(0, 256, (7, 3, 6, 6), np.uint8)
    records = ((b"%08d" % i, raw_datum(image, i % 2).SerializeToString()) for i, image in enumerate(images))
    write_lmdb(tmp_path / "lmdb", records)
    return images


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., Net]]:
    """Open a net of data layers, with labels or without."""
    nets = []

    def opened(*names: str, label: str = 'top: "label"') -> Net:
        text = "".join(LAYER.format(name=name, folder=tmp_path, label=label) for name in names)
        nets.append(
            Net(
                parse_net(
                    text or 'layer { name: "d" type: "DummyData" top: "d" dummy_data_param { shape { dim: 7 } } }'
                )
            )
        )
        return nets[-1]

    yield opened
    for net in nets:
        net.close()


@pytest.mark.parametrize("label", ['top: "label"', ""])
def test_the_images_of_rows(
    stored: NDArray[np.uint8], opened: Callable[..., Net], made: Callable[..., Scores], label: str
) -> None:
    """They come in the order asked for, from any batch, as the pixels that they were before the transform."""
    layer = image_layer(opened("data", label=label))
    assert layer
    for rows in ([6, 0, 4], [2], [5, 3, 1, 0]):
        images = pictures_of(layer, Path, made(ROWS, LABELS), rows)
        np.testing.assert_array_equal(images, stored[rows][:, :, 1:5, 1:5])


def test_images_of_other_scores(
    stored: NDArray[np.uint8], opened: Callable[..., Net], made: Callable[..., Scores]
) -> None:
    """Scores of another number of images, or with other labels, are not of this data."""
    layer = image_layer(opened("data"))
    assert layer and len(stored) == 7
    with pytest.raises(DataError, match=r'^a\.npz: layer "data" gives 7 images, the scores are of 6$'):
        pictures_of(layer, Path, made(ROWS[:6], LABELS[:6], origin="a.npz"), [0])
    reason = r"^a\.npz: these are no scores of this data: image 4 has the label 1, that image of the net's data 0$"
    with pytest.raises(DataError, match=reason):
        pictures_of(layer, Path, made(ROWS, [*LABELS[:4], 1, 0, 1], origin="a.npz"), [6])


@pytest.mark.parametrize("names", [(), ("data", "other")])
def test_no_images(stored: NDArray[np.uint8], opened: Callable[..., Net], names: tuple[str, ...]) -> None:
    """A net without images, or with images of several layers, has none to show."""
    assert len(stored) and image_layer(opened(*names, label="")) is None


def test_a_sheet_is_written(tmp_path: Path) -> None:
    """Classes without a name have their number; one where no file can be is named."""
    wrong = [Wrong(0, "a", 1, 0, 0.5)]
    draw_wrong(wrong, np.zeros((1, 1, 8, 8), np.uint8), ("", ""), tmp_path / "worst.png")
    assert Image.open(tmp_path / "worst.png").format == "PNG"
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match=r"folder: the picture cannot be written: "):
        draw_wrong(wrong, np.zeros((1, 1, 8, 8), np.uint8), ("", ""), tmp_path / "folder")
