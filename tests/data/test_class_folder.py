"""Folders of classes: torchvision's ImageFolder and the parts of Tiny ImageNet, read as they are."""

import logging

import numpy as np
import pytest
import torch
from torchvision.datasets import ImageFolder

from netspec.data.class_folder import read_folder
from netspec.errors import DataError
from netspec.layers.base import LayerError
from netspec.schema.netspec_pb2 import TEST

ONE, TWO = 'type: "ImageData" top: "data"', 'type: "ImageData" top: "data" top: "label"'


def text(path, fields="batch_size: 4", head=TWO):
    return f'{head} image_data_param {{ source: "{path}" {fields} }}'


@pytest.fixture
def grown(tmp_path, picture, pixels):
    """Write images at some places below the temporary folder; the images by their places."""

    def grown(*names):
        images = dict(zip(names, pixels(len(names), 3, 5, 6), strict=True))
        for name, image in images.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            picture(image, name)
        return images

    return grown


def test_the_same_as_image_folder(grown, opened, tmp_path):
    """Classes, their numbers, and the order of the images, also of deeper ones, are torchvision's."""
    grown("set/b/2.png", "set/b/10.png", "set/b/deep/0.png", "set/a/x.JPEG", "set/c 1/y.bmp", "set/B/z.png")
    (tmp_path / "set" / "b" / "boxes.txt").write_text("2.png 0 0 4 4\n")
    listing, other = read_folder(tmp_path / "set"), ImageFolder(str(tmp_path / "set"))
    assert [str(tmp_path / "set" / name) for name in listing.names] == [name for name, _ in other.samples]
    assert listing.labels.tolist() == other.targets
    assert opened(text(tmp_path / "set", "batch_size: 6")).next()[1].tolist() == other.targets


def test_images_and_labels(grown, opened, tmp_path, caplog):
    """Images come class after class, files of other kinds and hidden ones do not; the log says what was found."""
    caplog.set_level(logging.INFO, "netspec")
    images = grown("set/cat/1.png", "set/ant/3.png", "set/ant/2.png", "set/.trash/9.png", "set/ant/.8.png")
    (tmp_path / "set" / "ant" / "notes.txt").touch()
    (tmp_path / "set" / "README").touch()
    source = opened(text(tmp_path / "set", "batch_size: 3"))
    data, label = source.next()
    assert label.tolist() == [0, 0, 1]
    wanted = [images[f"set/{name}"] for name in ("ant/2.png", "ant/3.png", "cat/1.png")]
    np.testing.assert_array_equal(data.numpy(), np.stack(wanted))
    assert f"{tmp_path}/set: 3 images of 2 classes, ant (0) to cat (1); 1 files of other kinds" in caplog.text


def test_shuffled_epochs(grown, opened, tmp_path):
    """With shuffle every epoch has each image once, in an order that the seed alone decides."""
    grown(*(f"set/{index}/a.png" for index in range(8)))
    epochs = []
    for seed in (1, 1, 2):
        source = opened(text(tmp_path / "set", "batch_size: 8 shuffle: true"), seed=seed)
        epochs.append([source.next()[1].tolist() for _ in range(3)])
        assert all(sorted(labels) == list(range(8)) for labels in epochs[-1])
    assert epochs[0] == epochs[1] != epochs[2]
    assert epochs[0][0] != epochs[0][1]


@pytest.fixture
def tiny(grown, tmp_path):
    """The layout of Tiny ImageNet: two classes, in wnids.txt not in the order of their names."""
    images = grown(
        *(f"train/{wnid}/images/{wnid}_{i}.JPEG" for wnid in ("n1", "n2") for i in range(2)),
        *(f"{part}/images/{part}_{i}.JPEG" for part in ("val", "test") for i in range(3)),
    )
    (tmp_path / "train" / "n1" / "n1_boxes.txt").write_text("n1_0.JPEG\t0\t0\t4\t4\n")
    (tmp_path / "wnids.txt").write_text("n2\nn1\n")
    lines = ("val_2.JPEG\tn1", "val_0.JPEG\tn2", "val_1.JPEG\tn2")
    (tmp_path / "val" / "val_annotations.txt").write_text("".join(f"{line}\t0\t0\t4\t4\n" for line in lines))
    return images


def test_tiny_imagenet(tiny, opened, tmp_path):
    """Train, val and test are read without conversion; classes have the numbers of wnids.txt."""
    train = opened(text(tmp_path / "train")).next()
    assert train[1].tolist() == [0, 0, 1, 1]
    np.testing.assert_array_equal(train[0][2].numpy(), tiny["train/n1/images/n1_0.JPEG"])
    data, label = opened(text(tmp_path / "val", "batch_size: 3"), TEST).next()
    assert label.tolist() == [1, 0, 0]
    np.testing.assert_array_equal(data.numpy(), np.stack([tiny[f"val/images/val_{i}.JPEG"] for i in (2, 0, 1)]))
    for folder in ("test", "test/images"):
        (data,) = opened(text(tmp_path / folder, "batch_size: 3", ONE), TEST).next()
        np.testing.assert_array_equal(data.numpy(), np.stack([tiny[f"test/images/test_{i}.JPEG"] for i in range(3)]))


def test_tiny_imagenet_without_wnids(tiny, opened, tmp_path):
    """Without wnids.txt the names of the train folders, in order, number the classes of both parts."""
    (tmp_path / "wnids.txt").unlink()
    assert opened(text(tmp_path / "train")).next()[1].tolist() == [0, 0, 1, 1]
    assert read_folder(tmp_path / "val").labels.tolist() == [0, 1, 1]


def test_a_val_folder_of_its_own(tiny, tmp_path):
    """wnids.txt alone suffices to number the classes of val."""
    for file in (tmp_path / "train").rglob("*.*"):
        file.unlink()
    (tmp_path / "train").rename(tmp_path / "elsewhere")
    assert read_folder(tmp_path / "val").labels.tolist() == [1, 0, 0]
    (tmp_path / "wnids.txt").unlink()
    with pytest.raises(DataError, match=r"val_annotations.txt tells no numbers of classes: wnids.txt or train/ is"):
        read_folder(tmp_path / "val")


def test_images_without_labels_have_one_top(tiny, opened, tmp_path):
    """A second top for images that have no labels is refused."""
    with pytest.raises(LayerError, match=r"the images of .*test have no labels: leave out the second top") as caught:
        opened(text(tmp_path / "test"))
    assert caught.value.field == ("top",)


def no_images(path):
    for file in (path / "train" / "n2").rglob("*.JPEG"):
        file.unlink()


def wnids(content):
    return lambda path: (path / "wnids.txt").write_text(content)


@pytest.mark.parametrize(
    ("change", "part", "cause"),
    [
        (no_images, "train", r"train/n2: the folder of class 0 holds no images \(\.jpg, \.jpeg, \.png, \.bmp\)"),
        (lambda path: (path / "empty").mkdir(), "empty", "empty: the folder holds no images"),
        (lambda path: (path / "empty" / "images").mkdir(parents=True), "empty", "empty: the folder holds no images"),
        (wnids("n2\n"), "train", r"train/n1: a class that .*wnids.txt does not name \(1 such folders\)"),
        (wnids("n2\nn1\nn0\n"), "train", r"train has no folder n0, a class that .*wnids.txt names \(1 such classes\)"),
        (wnids(""), "val", "wnids.txt: the list is empty"),
        (wnids("n2\nn2\nn1\n"), "train", r"wnids.txt names n2 more than once \(1 such classes\)"),
        (wnids("n2\nn1\n\nn1 \n"), "val", r"wnids.txt names n1 more than once \(1 such classes\)"),
        (
            lambda path: (path / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn9\n"),
            "val",
            "val_annotations.txt: line 1 is of no known class: val_0.JPEG\tn9",
        ),
    ],
)
def test_a_wrong_folder(change, part, cause, tiny, tmp_path):
    """A folder that is not of the form is refused by name."""
    change(tmp_path)
    with pytest.raises(DataError, match=cause):
        read_folder(tmp_path / part)


@pytest.mark.parametrize(
    ("folders", "parts"),
    [
        (["train", "valid"], "train, valid"),
        (["test", "train", "more"], "test, train"),
        (["Train"], "Train"),
        (["train", "bus"], None),
    ],
)
def test_parts_of_a_set_are_no_classes(folders, parts, grown, tmp_path):
    """A folder one level too high is refused; one class of several may be called as a part is."""
    grown(*(f"set/{folder}/a/0.png" for folder in folders))
    if parts is None:
        assert read_folder(tmp_path / "set").labels.tolist() == [0, 1]
        return
    with pytest.raises(DataError, match=rf"set holds the parts of a set \({parts}\), not its classes: give one part"):
        read_folder(tmp_path / "set")


@pytest.mark.parametrize("field", ["labels: 2", 'root_folder: "/"'])
def test_fields_of_lists_are_refused(field, tiny, opened, tmp_path):
    """What makes sense for a list alone is refused for a folder."""
    name = field.split(":")[0]
    with pytest.raises(LayerError, match=f"{name} is for lists; source is the folder") as caught:
        opened(text(tmp_path / "train", field))
    assert caught.value.field == ("image_data_param", name)


def test_a_lost_image_is_named(tiny, opened, tmp_path):
    """An image that goes after the folder was read is named with its place."""
    source = opened(text(tmp_path / "val", "batch_size: 3 cache: OFF"))
    (tmp_path / "val" / "images" / "val_0.JPEG").unlink()
    with pytest.raises(DataError, match=r"val/images/val_0.JPEG: .*cannot be read: No such file"):
        source.next()


def test_unlabelled_images_are_kept_in_a_file(tiny, opened, tmp_path, cache_folder, monkeypatch):
    """A set without labels is written to the cache and read from it again."""
    monkeypatch.setattr("netspec.data.records.MEMORY_LIMIT", 0)
    batches = [opened(text(tmp_path / "test", "batch_size: 3", ONE)).next() for _ in range(2)]
    assert len(list(cache_folder.iterdir())) == 1
    assert torch.equal(batches[0][0], batches[1][0])
