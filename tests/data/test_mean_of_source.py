"""The mean of whole sets, against those that are recorded and those of numpy."""

from pathlib import Path

import numpy as np
import pytest

from netspec.data.form import Form
from netspec.data.mean import MeanImage, read_mean
from netspec.data.mean_of_source import mean_report
from netspec.errors import DataError

RECORDED = Path(__file__).parents[1] / "golden" / "training"


def test_the_recorded_mean(tmp_path):
    """The mean of the recorded LMDB is the recorded one, to the byte."""
    mean_report(RECORDED / "train_lmdb", tmp_path / "mean.binaryproto")
    assert (tmp_path / "mean.binaryproto").read_bytes() == (RECORDED / "mean.binaryproto").read_bytes()


@pytest.fixture
def folder(tmp_path, pixels, encode):
    images = pixels(6, 3, 4, 5)
    for index, image in enumerate(images):
        (tmp_path / "set" / f"c{index % 2}").mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / f"c{index % 2}" / f"{index}.png").write_bytes(encode(image))
    names = "".join(f"c{index % 2}/{index}.png 0\n" for index in range(6))
    (tmp_path / "list.txt").write_text(names)
    return tmp_path / "set", images


def numbers(report, name):
    return [float(line.split()[-1]) for line in report.splitlines() if line.startswith(f"{name} channel")]


def test_of_a_database_a_list_and_a_folder(folder, tmp_path, store_of):
    """Wherever the images lie, mean image, channel means and deviations are the same."""
    path, images = folder
    reports = [
        mean_report(source, tmp_path / name, root)
        for name, source, root in (
            ("a", store_of(images, "db"), ""),
            ("b", tmp_path / "list.txt", f"{path}/"),
            ("c", path, ""),
        )
    ]
    assert reports[0] == reports[1] == reports[2]
    for name in "abc":
        np.testing.assert_allclose(read_mean(tmp_path / name), images.mean(0), rtol=1e-6)
    np.testing.assert_allclose(numbers(reports[0], "mean_value"), images.mean((0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(numbers(reports[0], "std_value"), images.std((0, 2, 3)), rtol=1e-5)


def test_what_to_paste(folder, opened):
    """The last lines are a transform_param that gives the data mean 0 and deviation 1."""
    path, _ = folder
    report = mean_report(path)
    assert report.startswith("Number of images: 6\nNumber of channels: 3\nmean_value channel [0]: ")
    transform = report[report.index("transform_param") :]
    text = f'type: "ImageData" top: "x" top: "y" image_data_param {{ source: "{path}" batch_size: 6 }} {transform}'
    values = opened(text).next()[0].numpy()
    np.testing.assert_allclose(values.mean((0, 2, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(values.std((0, 2, 3)), 1, atol=1e-4)


def test_files_in_another_form(folder, tmp_path):
    """Files can be taken grey and resized, as an ImageData layer takes them."""
    mean_report(folder[0], tmp_path / "mean", form=Form(colour=False, size=(2, 3)))
    assert read_mean(tmp_path / "mean").shape == (1, 2, 3)


def test_a_record_of_another_size_is_named(store_of, pixels):
    """The message has the place and the key of the record that has no place in the mean."""
    store = store_of([pixels(1, 3, 4, 5)[0], pixels(1, 3, 5, 4)[0]], "db")
    with pytest.raises(DataError, match=r"db: record 1 \(key '00000001'\): an image of \(3, 5, 4\) has no place"):
        mean_report(store)


@pytest.mark.parametrize("options", [{"root": "x/"}, {"form": Form(colour=False)}, {"form": Form(size=(2, 2))}])
def test_a_database_is_taken_as_it_is(options, store_of, pixels):
    """What says how files are found and changed is refused for a database, where it would count for nothing."""
    with pytest.raises(DataError, match="db is a database: a root, gray and sizes are for lists and folders"):
        mean_report(store_of(pixels(2, 3, 4, 5), "db"), **options)


def test_the_place_is_looked_at_first(folder, tmp_path):
    """A place that cannot be written is refused before the set is read."""
    (folder[0] / "c0" / "0.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="set: cannot be written: it is a folder"):
        mean_report(folder[0], tmp_path / "set")


def test_numbers_that_are_no_bytes():
    """Images of float32 count with their fractions."""
    mean = MeanImage()
    for value in (0.25, 0.75):
        mean.add(np.full((1, 2, 2), value, np.float32))
    assert mean.value().tolist() == [[[0.5, 0.5], [0.5, 0.5]]]
    assert [float(part[0]) for part in mean.channels()] == [0.5, 0.25]


def test_a_source_that_is_not_there(tmp_path):
    """A missing source is named, and no mean is written."""
    with pytest.raises(DataError, match="none: the list cannot be read"):
        mean_report(tmp_path / "none", tmp_path / "mean")
    assert not (tmp_path / "mean").exists()
