"""The ImageData layer: lists of image files."""

import numpy as np
import pytest
import torch

from netspec.data.resize import resize
from netspec.errors import DataError
from netspec.layers.base import LayerError
from netspec.schema.netspec_pb2 import TEST

HEAD = 'type: "ImageData" top: "data" top: "label"'


@pytest.fixture
def images(pixels):
    return pixels(5, 3, 6, 7)


@pytest.fixture
def listed(tmp_path, picture, images):
    """A list of five PNG files, labelled 0 to 4, one with a space in its name; its path."""
    lines = [f"{picture(image, f'{i} a.png' if i == 2 else f'{i}.png')} {i}" for i, image in enumerate(images)]
    (tmp_path / "list.txt").write_text("\r\n".join(lines) + "\n\n")
    return tmp_path / "list.txt"


def text(path, fields="batch_size: 3", rest=""):
    return f'{HEAD} image_data_param {{ source: "{path}" {fields} }} {rest}'


def test_images_and_labels_in_order(opened, listed, images):
    """Images come as BGR in the order of the list, which wraps round; the label follows the last space."""
    source = opened(text(listed))
    assert source.shapes == [(3, 3, 6, 7), (3,)]
    assert source.epoch_size == 5
    for wanted in ([0, 1, 2], [3, 4, 0]):
        data, label = source.next()
        assert data.dtype == label.dtype == torch.float32
        assert label.tolist() == wanted
        np.testing.assert_array_equal(data.numpy(), images[wanted])


def test_grey_images(opened, listed, images):
    """Without is_color an image has one channel, the luma of its colours."""
    data, _ = opened(text(listed, "is_color: false")).next()
    blue, green, red = images[0].astype(np.float32)
    assert data.shape == (1, 1, 6, 7)
    assert abs(data[0, 0].numpy() - (0.299 * red + 0.587 * green + 0.114 * blue)).max() <= 1


def test_resized_images(opened, listed, picture, pixels, images, tmp_path):
    """new_height and new_width resize every image, also those of other sizes, before the transform."""
    other = pixels(1, 3, 20, 9, seed=1)[0]
    (tmp_path / "more.txt").write_text(listed.read_text().strip() + f"\n{picture(other, 'other.png')} 7")
    source = opened(text(tmp_path / "more.txt", "batch_size: 6 new_height: 4 new_width: 5"), TEST)
    data, label = source.next()
    assert label.tolist() == [0, 1, 2, 3, 4, 7]
    np.testing.assert_array_equal(data.numpy(), np.stack([resize(image, 4, 5) for image in [*images, other]]))


def test_the_transform_counts(opened, listed, images):
    """Crop, mean and scale act on the images, in the test phase in the centre."""
    transform = "transform_param { crop_size: 4 mean_value: 10 scale: 0.5 }"
    data, _ = opened(text(listed, rest=transform), TEST).next()
    np.testing.assert_array_equal(data.numpy(), (images[:3, :, 1:5, 1:5] - 10.0) * 0.5)


def test_root_folder_is_a_prefix(opened, listed, images, tmp_path):
    """root_folder stands before each name as it is."""
    (tmp_path / "names").write_text(".png 3\n.png 5")
    _, label = opened(text(tmp_path / "names", f'batch_size: 2 root_folder: "{tmp_path}/4"')).next()
    assert label.tolist() == [3, 5]


def test_names_are_found_where_the_text_says(opened, listed, tmp_path):
    """The list and the images go through `find`; an image that it does not find is named with its line."""
    (tmp_path / "names").write_text("0.png 0\n\nnone.png 1")

    def find(name):
        if not (tmp_path / name).exists():
            raise LayerError(f'"{name}" is not there')
        return tmp_path / name

    source = opened(text("names", "batch_size: 1"), find=find)
    with pytest.raises(DataError, match=r'names: line 3 \(none.png\): "none.png" is not there'):
        source.next()


def test_labels_may_be_fractions(opened, listed, tmp_path):
    """A label that is no whole number is handed out as it is; against classes its whole part counts."""
    (tmp_path / "list.txt").write_text("".join(f"{tmp_path}/0.png {label}\n" for label in ("0.25", "-1", "2.5")))
    source = opened(text(listed))
    assert source.next()[1].tolist() == [0.25, -1, 2.5]
    source.check_labels(3, -1, "loss")
    with pytest.raises(DataError, match=r"line 3 \(.*\) has the label 2.5, but layer 'loss' knows 0 to 1 \(1 such"):
        source.check_labels(2, -1, "loss")


def test_images_of_several_sizes(opened, listed, picture, pixels):
    """Without new_height the first image of another size is named, unless a crop makes them alike."""
    other = picture(pixels(1, 3, 9, 8)[0], "other.png")
    listed.write_text(listed.read_text() + f"{other} 5")
    assert opened(text(listed, "batch_size: 6", "transform_param { crop_size: 5 }")).next()[0].shape == (6, 3, 5, 5)
    with pytest.raises(DataError, match=r"other.png\): the image is 3x9x8, the first record's 3x6x7; .*new_height"):
        opened(text(listed, "batch_size: 6")).next()


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("", "the list is empty"),
        ("\n\n", "the list is empty"),
        ("cat.png\n", 'line 1 is not "path label": cat.png'),
        ("{}/0.png 0\ncat.png one\n", 'line 2 is not "path label": cat.png one'),
        ("{}/0.png nan\n", 'line 1 is not "path label"'),
        ("{}/list.txt 0\n", r"line 1 \(.*\): cannot decode an image"),
        ("{}/none.png 0\n", r"line 1 \(.*\): .*none.png cannot be read: No such file"),
    ],
)
def test_a_wrong_list(content, cause, opened, listed, tmp_path):
    """A list that is empty, of another form, or names what is no image is refused with the line."""
    listed.write_text(content.format(tmp_path))
    with pytest.raises(DataError, match=cause):
        opened(text(listed))


@pytest.mark.parametrize(
    ("fields", "field", "cause"),
    [
        ("", "source", "source is missing"),
        ('source: "list" batch_size: 0', "batch_size", "at least 1"),
        ('source: "list" new_height: 3', "new_height", "new_height and new_width, or neither"),
        ('source: "list" new_width: 3', "new_width", "new_height and new_width, or neither"),
    ],
)
def test_a_wrong_message(fields, field, cause, opened):
    """A message that makes no sense is refused with the guilty field."""
    with pytest.raises(LayerError, match=cause) as caught:
        opened(f"{HEAD} image_data_param {{ {fields} }}")
    assert caught.value.field == ("image_data_param", field)


def test_a_list_is_kept_in_memory_only(opened, listed, cache_folder, monkeypatch):
    """A large list leaves no file of decoded images behind, since its images may change unseen."""
    monkeypatch.setattr("netspec.data.records.MEMORY_LIMIT", 0)
    assert opened(text(listed)).next()[1].tolist() == [0, 1, 2]
    assert not cache_folder.exists()
