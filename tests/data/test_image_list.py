"""The ImageData layer: lists of image files."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from netspec.data.damage import sound_records
from netspec.data.image_list import ImageFiles, ListedImages
from netspec.data.list_file import read_listing
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

    with pytest.raises(DataError, match=r'names: line 3 \(none.png\): "none.png" is not there'):
        opened(text("names", "batch_size: 1"), find=find)
    (tmp_path / "names").write_text("0.png 0\n4.png 4")
    assert opened(text("names", "batch_size: 2"), find=find).next()[1].tolist() == [0, 4]


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
        ('source: "list" new_height: 3 new_width: 16385', "new_width", "new_width is at most 16384, not 16385"),
        ('source: "list" new_height: 100000 new_width: 3', "new_height", "new_height is at most 16384, not 100000"),
    ],
)
def test_a_wrong_message(fields, field, cause, opened):
    """A message that makes no sense is refused with the guilty field."""
    with pytest.raises(LayerError, match=cause) as caught:
        opened(f"{HEAD} image_data_param {{ {fields} }}")
    assert caught.value.field == ("image_data_param", field)


@pytest.fixture
def several(tmp_path, listed):
    """Three images with three numbers each; the path of the list."""
    rows = ("0 1.5 -2", "3 0.25 1e3", "-1 7 8")
    (tmp_path / "several").write_text(
        "".join(f"{tmp_path}/{i}.png {row}\n" for i, row in zip((0, 1, 3), rows, strict=True))
    )
    return tmp_path / "several"


SEVERAL = [[0, 1.5, -2], [3, 0.25, 1000], [-1, 7, 8]]


@pytest.mark.parametrize("limit", [0, 1 << 28])
@pytest.mark.parametrize("cache", ["AUTO", "OFF"])
def test_several_labels(limit, cache, opened, several, images, monkeypatch):
    """With labels: K the last K numbers of a line are a row of the second top, however the images are kept."""
    monkeypatch.setattr("netspec.data.records.MEMORY_LIMIT", limit)
    for _ in range(2):
        source = opened(text(several, f"batch_size: 3 labels: 3 cache: {cache}"))
        assert source.shapes == [(3, 3, 6, 7), (3, 3)]
        source.check_labels(2, None, "loss")  # several labels are no classes
        data, label = source.next()
        assert label.tolist() == SEVERAL
        np.testing.assert_array_equal(data.numpy(), images[[0, 1, 3]])


def test_several_labels_are_shuffled_with_their_images(opened, several, images):
    """Each image keeps its labels in every order."""
    source = opened(text(several, "batch_size: 3 labels: 3 shuffle: true"), seed=3)
    for _ in range(4):
        for image, labels in zip(*source.next(), strict=True):
            np.testing.assert_array_equal(image, images[[0, 1, 3][SEVERAL.index(labels.tolist())]])


def test_lists_without_labels(opened, listed, tmp_path, images):
    """With labels: 0 a line is a name alone, and there is no second top; one may also be left out beside labels."""
    (tmp_path / "names").write_text(f"{tmp_path}/2 a.png\n{tmp_path}/0.png\n")
    one = HEAD.removesuffix(' top: "label"')
    (data,) = opened(text(tmp_path / "names", "batch_size: 2 labels: 0").replace(HEAD, one)).next()
    np.testing.assert_array_equal(data.numpy(), images[[2, 0]])
    (data,) = opened(text(listed).replace(HEAD, one)).next()
    np.testing.assert_array_equal(data.numpy(), images[:3])
    with pytest.raises(LayerError, match="names have no labels: leave out the second top"):
        opened(text(tmp_path / "names", "labels: 0"))


@pytest.mark.parametrize(
    ("count", "line", "form"),
    [
        (2, "0.png 1", '"path label label": 0.png 1'),
        (2, "0.png 1 one", '"path label label": 0.png 1 one'),
        (2, "1 2", '"path label label": 1 2'),
        (3, "0.png 1 2 inf", '"path label label label": 0.png'),
        (9, "0.png 1 2", '"path label label label ...": 0.png'),
    ],
)
def test_a_line_with_too_few_labels(count, line, form, opened, listed):
    """A line that does not end with so many numbers after a name is refused."""
    listed.write_text(listed.read_text() + line)
    with pytest.raises(DataError, match=f"line 1 is not|line 7 is not {form}"):
        opened(text(listed, f"labels: {count}"))


def test_a_byte_order_mark(opened, listed):
    """A list as Windows' editors write it, with a mark at its start and its ends of lines, is read the same."""
    lines = listed.read_text().splitlines()
    listed.write_bytes(b"\xef\xbb\xbf" + "\r\n\r\n".join(lines).encode())
    assert opened(text(listed, "batch_size: 5")).next()[1].tolist() == [0, 1, 2, 3, 4]


def test_rand_skip_and_shuffle(opened, listed):
    """rand_skip begins at one of its first lines; shuffled epochs have every image, in an order of the seed alone."""
    starts = {int(opened(text(listed, "rand_skip: 3"), seed=seed).next()[1][0]) for seed in range(40)}
    assert starts == {0, 1, 2}
    orders = []
    for seed in (4, 4, 5):
        source = opened(text(listed, "batch_size: 5 shuffle: true"), seed=seed)
        orders.append([source.next()[1].tolist() for _ in range(4)])
        assert all(sorted(order) == [0, 1, 2, 3, 4] for order in orders[-1])
    assert orders[0] == orders[1] != orders[2]
    assert len({tuple(order) for order in orders[0]}) > 1


def identities(listed, tmp_path, size=None):
    return ListedImages(read_listing(listed, 1), ImageFiles("", Path), size).identity


CHANGES = [
    lambda listed: os.utime(listed.parent / "3.png", (1, 1)),
    lambda listed: (listed.parent / "3.png").write_bytes(b"longer" * 999),
    lambda listed: (listed.parent / "3.png").unlink(),
    lambda listed: listed.write_text(listed.read_text().replace("3.png 3", "3.png 4")),
    lambda listed: listed.write_text("\n".join(reversed(listed.read_text().splitlines()))),
]


@pytest.mark.parametrize("change", CHANGES)
def test_the_identity_tells_lists_apart(change, listed, tmp_path):
    """It stays as long as list and files do, and changes with a file's size or time, a label, an order, or a size."""
    before = identities(listed, tmp_path)
    assert identities(listed, tmp_path) == before
    assert identities(listed, tmp_path, (4, 4)) != before
    change(listed)
    assert identities(listed, tmp_path) != before


def test_a_changed_list_is_decoded_anew(opened, listed, picture, images, cache_folder, monkeypatch):
    """Decoded images of a list are kept in a file, until an image changes."""
    monkeypatch.setattr("netspec.data.records.MEMORY_LIMIT", 0)
    for wanted in (images[0], 255 - images[0]):
        picture(wanted, "0.png")
        os.utime(listed.parent / "0.png", (1, int(wanted[0, 0, 0])))
        for _ in range(2):
            np.testing.assert_array_equal(opened(text(listed)).next()[0][0].numpy(), wanted)
    assert len(list(cache_folder.iterdir())) == 1


KEEPING = [("cache: OFF", 1 << 28), ("", 1 << 28), ("", 0), ("cache: OFF skip_damaged: 1", 1 << 28)]


@pytest.fixture(params=KEEPING)
def unread(request, opened, listed, monkeypatch):
    """The source of a list of which nothing but the first image is kept yet."""
    fields, limit = request.param
    monkeypatch.setattr("netspec.data.records.MEMORY_LIMIT", limit)
    return opened(text(listed, f"batch_size: 5 {fields}"))


@pytest.mark.parametrize("content", ["another image", "no image"])
def test_an_image_that_is_replaced_is_noticed(content, unread, listed, picture, images):
    """A file that is another one than when the list was opened is an error by its name, whether it can be decoded or
    not: no run learns from what its text did not mean."""
    if content == "another image":
        picture(255 - images[3], "3.png")
    else:
        (listed.parent / "3.png").write_text(content)
    os.utime(listed.parent / "3.png", (1, 1))
    said = "has changed since it was opened; a run needs it as it was: start again with it"
    with pytest.raises(DataError) as caught:
        unread.next()
    assert str(caught.value) == f"{listed}: line 4 ({listed.parent}/3.png): {listed.parent}/3.png {said}"


@pytest.mark.parametrize("colour", [None, True])
def test_a_changed_image_is_no_damaged_one(colour, listed, picture, images):
    """What changes between the reading of the list and the look for damage is an error, whatever may be left out."""
    store = ListedImages(read_listing(listed, 1), ImageFiles("", Path), None)
    picture(images[1], "0.png")
    os.utime(listed.parent / "0.png", (1, 1))
    with pytest.raises(DataError, match=r"line 1 \(.*0.png\): .*0.png has changed since it was opened"):
        sound_records(store, colour, 5)


def test_an_image_that_is_removed_is_missing(unread, listed):
    """A file that goes after the list was opened cannot be read."""
    (listed.parent / "3.png").unlink()
    with pytest.raises(DataError, match=r"line 4 \(.*3.png\): .*3.png cannot be read: No such file"):
        unread.next()


def test_an_image_that_comes_later_is_no_change(listed, picture, images):
    """What was missing when the list was opened may be read once it is there."""
    (listed.parent / "3.png").unlink()
    store = ListedImages(read_listing(listed, 1), ImageFiles("", Path), None)
    picture(images[3], "3.png")
    np.testing.assert_array_equal(store.image(3)[0], images[3])


def test_a_file_is_looked_at_once_and_once_a_read(listed, monkeypatch):
    """The state of a file is asked for at the start, and after each read of it."""
    asked, state = [], ImageFiles.state
    monkeypatch.setattr(ImageFiles, "state", lambda self, name: asked.append(name) or state(self, name))
    store = ListedImages(read_listing(listed, 1), ImageFiles("", Path), None)
    names = read_listing(listed, 1).names
    assert asked == list(names)
    store.refuse_missing()
    assert store.identity
    store.image(1)
    assert asked == [*names, names[1]]


def test_names_beside_the_text_are_found_folder_by_folder(opened, tmp_path, picture, pixels):
    """The place of a folder is asked for once, whatever the number of its files."""
    (tmp_path / "set" / "a").mkdir(parents=True)
    images, asked = pixels(6, 3, 4, 4), []
    for index, image in enumerate(images):
        picture(image, f"set/a/{index}.png")
    (tmp_path / "list").write_text("".join(f"a/{index}.png {index}\n" for index in range(6)))

    def find(name):
        asked.append(name)
        if not (tmp_path / name).exists():
            raise LayerError(f'"{name}" is not there')
        return tmp_path / name

    data, _ = opened(text("list", 'batch_size: 6 root_folder: "set/"'), find=find).next()
    np.testing.assert_array_equal(data.numpy(), images)
    assert asked == ["list", "set/a/"]


@pytest.mark.parametrize("allowed", [1, 2])
def test_damaged_images_are_left_out(allowed, opened, listed, caplog):
    """skip_damaged leaves out so many images that cannot be read, each named; one more is an error."""
    (listed.parent / "1.png").write_bytes(b"no image")
    (listed.parent / "3.png").unlink()
    if allowed == 1:
        with pytest.raises(DataError, match=r"line 4 \(.*3.png\): .*skip_damaged: 1 allows no more"):
            opened(text(listed, f"batch_size: 3 skip_damaged: {allowed}"))
    else:
        source = opened(text(listed, f"batch_size: 3 skip_damaged: {allowed}"))
        assert source.next()[1].tolist() == [0, 2, 4]
        assert source.epoch_size == 3
    assert "1.png" in caplog.text


def test_several_labels_cannot_be_mixed(opened, several):
    """Mixing makes shares of classes, which several labels are not."""
    with pytest.raises(LayerError, match="mixing needs one label an image; here each has 3") as caught:
        opened(text(several, "batch_size: 3 labels: 3", "transform_param { mixup_alpha: 1 classes: 5 }"))
    assert caught.value.field == ("transform_param", "classes")
