"""The MemoryData layer: images that the program hands over."""

import re

import numpy as np
import pytest
import torch

from netspec import Net, parse_net
from netspec.data.mean import write_mean
from netspec.errors import DataError, SpecError
from netspec.layers.base import LayerError
from netspec.schema.netspec_pb2 import TEST

SIZES = "batch_size: 2 channels: 3 height: 4 width: 4"


def text(sizes=SIZES, transform="", name="data"):
    return (
        f'name: "{name}" type: "MemoryData" top: "{name}" top: "{name} label" '
        f"memory_data_param {{ {sizes} }} transform_param {{ {transform} }}"
    )


def layer(source_text):
    return parse_net(f"layer {{ {source_text} }}")


def arrays(count=6, height=4, width=4, seed=0):
    random = np.random.default_rng(seed)
    return random.standard_normal((count, 3, height, width), np.float32), np.arange(count)


def test_what_is_given_comes_out(opened):
    """Images and labels come in order, again and again, as float32."""
    data, labels = arrays()
    source = opened(text())
    assert source.shapes == [(2, 3, 4, 4), (2,)]
    source.set(data, labels)
    assert source.epoch_size == 6
    batches = [source.next() for _ in range(4)]
    np.testing.assert_array_equal(torch.cat([images for images, _ in batches]), data[[0, 1, 2, 3, 4, 5, 0, 1]])
    assert torch.cat([label for _, label in batches]).tolist() == [0, 1, 2, 3, 4, 5, 0, 1]
    assert [label.tolist() for _, label in source.once()] == [[0, 1], [2, 3], [4, 5]]


@pytest.mark.parametrize("convert", [torch.tensor, lambda array: array.astype(np.float64), np.asfortranarray])
def test_arrays_of_any_kind(convert, opened):
    """Tensors and arrays of any number type and layout are taken; labels may be (N, 1, 1, 1), as in pycaffe."""
    data, labels = arrays()
    source = opened(text())
    source.set(convert(data), convert(labels.reshape(-1, 1, 1, 1)))
    images, label = source.next()
    np.testing.assert_array_equal(images, data[:2])
    assert label.tolist() == [0, 1]


def test_new_arrays_start_with_their_first_image(opened):
    """Arrays given later begin at their first image, also when the ones before were not through; the draws go on."""
    source = opened(text(transform="mirror: true"))
    source.set(*arrays())
    source.next()
    mirrored = []
    for seed in range(12):
        data, labels = arrays(4, seed=seed)
        source.set(data, labels)
        images, label = source.next()
        assert label.tolist() == [0, 1]
        mirrored += [not np.array_equal(image, given) for image, given in zip(images, data, strict=False)]
    assert 0 < sum(mirrored) < len(mirrored)


def test_a_later_change_does_not_count(opened):
    """The arrays are copied: what the program does with them afterwards changes no batch."""
    data, labels = arrays()
    source = opened(text())
    source.set(data, labels)
    data[:] = 0
    assert source.next()[0].abs().sum() > 0


def test_the_transform_counts(opened, tmp_path):
    """Larger images are cropped to height and width, mean and scale are applied."""
    mean = arrays(1, 6, 7, seed=3)[0][0]
    write_mean(tmp_path / "mean", mean)
    source = opened(text(transform=f'crop_size: 4 scale: 2 mean_file: "{tmp_path}/mean"'), TEST)
    data, labels = arrays(2, 6, 7)
    source.set(data, labels)
    np.testing.assert_allclose(source.next()[0], (data - mean)[:, :, 1:5, 1:5] * 2, rtol=1e-6)


def test_nothing_given(opened):
    """Drawing before anything was given says how to give it."""
    source = opened(text())
    for draw in (source.next, source.once):
        with pytest.raises(DataError, match=r'"data" has no images yet: net.set_input_arrays\(data, labels\)'):
            draw()


def test_labels_are_checked(opened):
    """Labels are held against the classes when they are given, before or after the classes are known."""
    source = opened(text())
    source.set(*arrays())
    with pytest.raises(
        DataError, match="image 5 given to layer \"data\" has the label 5, but layer 'loss' knows 0 to 4"
    ):
        source.check_labels(5, None, "loss")
    source = opened(text())
    source.check_labels(5, None, "loss")
    with pytest.raises(DataError, match="has the label 5"):
        source.set(*arrays())
    source.set(*arrays(4))
    assert source.next()[1].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("data", "labels", "cause"),
    [
        (np.zeros((3, 3, 4, 4)), np.zeros(3), "N a multiple of batch_size 2, not .3, 3, 4, 4"),
        (np.zeros((0, 3, 4, 4)), np.zeros(0), "N a multiple of batch_size 2"),
        (np.zeros((2, 3, 4)), np.zeros(2), r"data must be \(N, C, H, W\)"),
        (np.zeros((2, 3, 4, 4)), np.zeros(4), "4 labels for 2 images"),
        (np.zeros((2, 3, 4, 5)), np.zeros(2), r"images \(3, 4, 5\) become \(3, 4, 5\), not \(3, 4, 4\)"),
    ],
)
def test_arrays_that_do_not_fit(data, labels, cause, opened):
    """Arrays of a wrong shape or number are refused, and what was given before stays."""
    source = opened(text())
    source.set(*arrays())
    with pytest.raises(ValueError, match=cause):
        source.set(data, labels)
    assert source.next()[1].tolist() == [0, 1]


@pytest.mark.parametrize("wrong", ["", "{}: 0"])
@pytest.mark.parametrize("field", ["batch_size", "channels", "height", "width"])
def test_all_sizes_are_stated(field, wrong, opened):
    """Each of the four sizes must be stated and positive."""
    with pytest.raises(LayerError, match=f"{field} is missing or 0") as caught:
        opened(text(re.sub(rf"{field}: \d", wrong.format(field), SIZES)))
    assert caught.value.field == ("memory_data_param", field)


HUGE = 4_000_000_000


@pytest.mark.parametrize(
    ("sides", "transform"),
    [((HUGE, HUGE), ""), ((4, HUGE), f"crop_size: {HUGE}"), ((4, HUGE), f"crop_size: {HUGE} output_size: 4")],
)
def test_sizes_that_no_memory_holds(sides, transform, opened):
    """Images are refused that are larger than any memory, by their own sizes or by what is to be cut out of them."""
    with pytest.raises(LayerError, match="more than any memory holds"):
        opened(text("batch_size: 2 channels: 3 height: {} width: {}".format(*sides), transform))


@pytest.mark.parametrize("transform", ["crop_size: 3", "mean_value: [1, 2]", "crop_size: 5"])
def test_a_transform_that_does_not_fit(transform, opened):
    """A transform that cannot give the stated sizes is refused when the layer is opened."""
    with pytest.raises(LayerError):
        opened(text(transform=transform))


def test_a_net_hands_arrays_to_its_layer():
    """set_input_arrays gives them to the only MemoryData layer, or to the one that is named."""
    net = Net(layer(text()))
    net.set_input_arrays(*arrays())
    assert net()["data label"].tolist() == [0, 1]
    net.close()
    both = Net(parse_net(f"layer {{ {text()} }} layer {{ {text(name='other')} }}"))
    with pytest.raises(ValueError, match="name one of the net's MemoryData layers; it has data, other"):
        both.set_input_arrays(*arrays())
    with pytest.raises(ValueError, match="it has data, other"):
        both.set_input_arrays(*arrays(), layer="more")
    for name in ("data", "other"):
        both.set_input_arrays(*arrays(), layer=name)
    assert both()["other label"].tolist() == [0, 1]
    both.close()
    with pytest.raises(ValueError, match="it has none"):
        Net(layer('name: "x" type: "Input" top: "x" input_param { shape { dim: 1 } }')).set_input_arrays(*arrays())


def test_a_layer_without_tops_is_refused():
    """A layer that gives its blobs to nobody is no layer of a net."""
    with pytest.raises(SpecError, match="MemoryData takes 2 tops, not 0"):
        Net(layer(f'name: "data" type: "MemoryData" memory_data_param {{ {SIZES} }}'))


def test_a_wrong_text_has_its_line():
    """A net with sizes missing is refused at the layer."""
    with pytest.raises(SpecError, match="batch_size is missing or 0"):
        Net(layer(text("channels: 3 height: 4 width: 4")))


@pytest.mark.parametrize(
    ("transform", "size"),
    [("pad: 1", 2), ("pad: 1 crop_size: 4", 3), ("crop_size: 6 output_size: 4", 9), ("resize: 4", 5)],
)
def test_images_of_another_size_become_the_stated_one(opened, transform, size):
    """Height and width of the message are those after the whole transform."""
    source = opened(text(transform=transform))
    source.set(*arrays(4, size, size))
    assert source.next()[0].shape == (2, 3, 4, 4)


def test_copies_of_what_is_given(opened):
    """With a copy the images given come once plain, then once through it."""
    data, labels = arrays(4)
    source = opened(text(transform="copy { scale: 3 }"))
    source.set(data, labels)
    images = torch.cat([images for images, _ in source.once()])
    torch.testing.assert_close(images, torch.from_numpy(np.concatenate([data, 3 * data])))
    assert source.epoch_size == 8
