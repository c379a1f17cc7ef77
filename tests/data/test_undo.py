"""Pixels found again from what a data layer made of them."""

from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format

from netspec.data.mean import write_mean
from netspec.data.undo import STRETCHED, pixels_of
from netspec.schema.netspec_pb2 import TEST, LayerParameter


@pytest.fixture
def shown(pixels, store_of, opened, tmp_path):
    """Hand images of 6x6 pixels to a Data layer with a transform, and undo it: images, pixels and words."""
    images = pixels(4, 3, 6, 6)
    write_mean(tmp_path / "mean", pixels(1, 3, 6, 6, seed=1)[0].astype(np.float32))
    path = store_of(images)

    def shown(transform, phase=TEST):
        transform = transform.replace("MEAN", str(tmp_path / "mean"))
        text = f'type: "Data" top: "x" top: "y" data_param {{ source: "{path}" batch_size: 4 backend: LMDB }}'
        text += f" transform_param {{ {transform} }}"
        values = opened(text, phase).next()[0].numpy()
        return images, *pixels_of(values, text_format.Parse(text, LayerParameter()), Path)

    return shown


@pytest.mark.parametrize(
    ("transform", "words"),
    [
        ("", "values as they are"),
        ("scale: 0.00390625", "scale undone"),
        ("mean_value: 104 mean_value: 117 mean_value: 123 scale: 0.017", "mean_value, scale undone"),
        ("mean_value: 100 std_value: 58 std_value: 57 std_value: 56", "mean_value, std_value undone"),
        ('mean_file: "MEAN"', "mean_file (its centre) undone"),
    ],
)
def test_arithmetic_is_undone(shown, transform, words):
    """Mean, deviation and scale are undone to the pixel, and named."""
    images, pixels, how = shown(transform)
    np.testing.assert_array_equal(pixels, images)
    assert how == words


def test_a_crop_of_the_mean_image(shown):
    """In TEST the centre of the mean image belongs to the centre of the image."""
    images, pixels, _ = shown('mean_file: "MEAN" crop_size: 4')
    np.testing.assert_array_equal(pixels, images[:, :, 1:5, 1:5])


@pytest.mark.parametrize("transform", ["standardize: true", "mean_value: 100 copy { mean_value: 50 }", "scale: 0"])
def test_what_cannot_be_undone_is_stretched(transform):
    """Where images were treated each in its own way, or nothing is left of them, each is stretched."""
    text = f'type: "Data" top: "x" transform_param {{ {transform} }}'
    values = np.array([[[[-2, 0, 2]]], [[[5, 5, 5]]]], np.float32)
    pixels, how = pixels_of(values, text_format.Parse(text, LayerParameter()), Path)
    assert how == STRETCHED
    assert pixels.ravel().tolist() == [0, 128, 255, 0, 0, 0]


def test_layers_without_a_transform_are_stretched():
    """Nobody knows the range of an HDF5 file's values."""
    pixels, how = pixels_of(np.array([[[[0, 1]]]], np.float32), LayerParameter(type="HDF5Data"), Path)
    assert (pixels.ravel().tolist(), how) == ([0, 255], STRETCHED)


def test_a_mean_image_smaller_than_the_images(tmp_path):
    """A mean image that has no centre of that size, since the images were enlarged, counts by its channels."""
    write_mean(tmp_path / "mean", np.full((3, 2, 2), 100, np.float32))
    param = LayerParameter(type="Data")
    param.transform_param.mean_file = str(tmp_path / "mean")
    pixels, _ = pixels_of(np.zeros((1, 3, 4, 4), np.float32), param, Path)
    assert (pixels == 100).all()
