"""The mean image and its file."""

import numpy as np
import pytest

from netspec.data.mean import compute_mean, read_mean, write_mean
from netspec.errors import DataError
from netspec.files import refuse_unwritable
from netspec.schema.netspec_pb2 import BlobProto, BlobShape

VALUES = [float(i) for i in range(24)]


def test_mean_of_images(pixels):
    """The mean is that of each pixel."""
    images = pixels(50, 3, 4, 5)
    np.testing.assert_allclose(compute_mean(images), images.mean(0), rtol=1e-6)


@pytest.mark.parametrize("shapes", [[], [(1, 2, 2), (1, 2, 3)]])
def test_mean_needs_images_of_one_size(shapes):
    """No images, or images of several sizes, have no mean."""
    with pytest.raises(DataError, match="mean of"):
        compute_mean(np.zeros(shape, np.uint8) for shape in shapes)


def test_written_mean_comes_back(tmp_path, pixels):
    """A mean file gives back what was written, in the four dimensions of old Caffe."""
    mean = pixels(1, 3, 4, 5)[0].astype(np.float32) / 7
    write_mean(tmp_path / "mean", mean)
    np.testing.assert_array_equal(read_mean(tmp_path / "mean"), mean)
    proto = BlobProto.FromString((tmp_path / "mean").read_bytes())
    assert (proto.num, proto.channels, proto.height, proto.width) == (1, 3, 4, 5)


@pytest.mark.parametrize("write", [refuse_unwritable, lambda path: write_mean(path, np.zeros((1, 2, 2)))])
@pytest.mark.parametrize("place", ["file/x", "file/x/y", ""])
def test_a_place_that_cannot_be_written(place, write, tmp_path):
    """Where no file can be written that is one message with the path, and is known before the mean is."""
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=f"{tmp_path / place}: cannot be written: "):
        write(tmp_path / place)


def test_folders_of_a_mean_are_made(tmp_path):
    """A mean may be written into folders that are not there yet."""
    refuse_unwritable(tmp_path / "new" / "folder" / "mean")
    write_mean(tmp_path / "new" / "folder" / "mean", np.ones((1, 2, 2)))
    assert read_mean(tmp_path / "new" / "folder" / "mean").shape == (1, 2, 2)


@pytest.mark.parametrize(
    "proto",
    [
        BlobProto(shape=BlobShape(dim=[2, 3, 4]), data=VALUES),
        BlobProto(shape=BlobShape(dim=[1, 2, 3, 4]), data=VALUES),
        BlobProto(num=1, channels=2, height=3, width=4, double_data=VALUES),
    ],
)
def test_reads_every_form(proto, tmp_path):
    """New dimensions, old ones and doubles all give a mean (C, H, W)."""
    (tmp_path / "mean").write_bytes(proto.SerializeToString())
    np.testing.assert_array_equal(read_mean(tmp_path / "mean"), np.reshape(VALUES, (2, 3, 4)))


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xff\xff",
        b"",
        BlobProto(num=1, channels=2, height=3, width=4, data=VALUES[1:]).SerializeToString(),
        BlobProto(num=2, channels=1, height=3, width=4, data=VALUES).SerializeToString(),
        BlobProto(shape=BlobShape(dim=[-2, -3, 4]), data=VALUES).SerializeToString(),
    ],
)
def test_refuses_what_is_no_mean(content, tmp_path):
    """A file that is no mean image is refused by name."""
    (tmp_path / "mean").write_bytes(content)
    with pytest.raises(DataError, match="mean is no mean file"):
        read_mean(tmp_path / "mean")


def test_names_a_missing_mean(tmp_path):
    """A missing file is named."""
    with pytest.raises(DataError, match="none: the mean file cannot be read: No such file"):
        read_mean(tmp_path / "none")
