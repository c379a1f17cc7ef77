"""Crops that lay one top on another, and the places that they follow from."""
# ruff: noqa: C408  # dict(...) is how pycaffe's users write a message

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netspec import Net, NetSpec, parse_net, to_proto
from netspec import layers as L
from netspec import params as P
from netspec.builder import Top
from netspec.coord_map import crop


def conv(bottom: Top, kernel: int, pad: int = 0) -> Any:
    return L.Convolution(bottom, num_output=2, kernel_size=kernel, pad=pad)


def score(bottom: Top) -> Any:
    return L.Convolution(bottom, num_output=2, kernel_size=1)


def pool(bottom: Top) -> Any:
    return L.Pooling(bottom, pool=P.Pooling.MAX, kernel_size=2, stride=2)


def upscore(bottom: Top, kernel: int, stride: int) -> Any:
    return L.Deconvolution(bottom, convolution_param=dict(num_output=2, kernel_size=kernel, stride=stride))


def fcn8s() -> NetSpec:
    """The spatial layers of FCN-8s (Shelhamer, Long and Darrell 2016), with fewer layers of kernel 3 and pad 1."""
    n = NetSpec()
    n.data = L.Input(shape=dict(dim=[1, 3, 50, 70]))
    n.conv1 = conv(n.data, 3, pad=100)
    n.relu1 = L.ReLU(n.conv1, in_place=True)
    n.pool3 = pool(pool(pool(n.relu1)))
    n.pool4 = pool(conv(n.pool3, 3, pad=1))
    n.fc7 = L.Dropout(conv(conv(pool(n.pool4), 7), 1), in_place=True)
    n.upscore2 = upscore(score(n.fc7), 4, 2)
    n.score_pool4c = crop(score(n.pool4), n.upscore2)
    n.upscore_pool4 = upscore(L.Eltwise(n.upscore2, n.score_pool4c), 4, 2)
    n.score_pool3c = crop(score(n.pool3), n.upscore_pool4)
    n.upscore8 = upscore(L.Eltwise(n.upscore_pool4, n.score_pool3c), 16, 8)
    n.score = crop(n.upscore8, n.data)
    return n


def test_the_crops_of_fcn8s() -> None:
    """FCN's published nets crop at 5, 9 and 31, and what is cropped has the size of what it is laid on."""
    written = fcn8s().to_proto()
    crops = {layer.name: layer.crop_param for layer in written.layer if layer.type == "Crop"}
    assert {name: list(param.offset) for name, param in crops.items()} == {
        "score_pool4c": [5],
        "score_pool3c": [9],
        "score": [31],
    }
    assert {param.axis for param in crops.values()} == {2}
    assert Net(written, "TEST").blob_shapes["score"] == (1, 2, 50, 70)


def test_a_crop_is_written_as_pycaffe_does() -> None:
    """Both tops are its bottoms; the axis is stated, an offset that both axes share once."""
    data = L.Input(shape=dict(dim=[1, 3, 9, 9]))
    written = crop(L.Power(conv(data, 3, pad=3)), data).to_proto().layer[-1]
    assert written == parse_net(
        'layer { name: "Crop1" type: "Crop" bottom: "Power1" bottom: "Input1" top: "Crop1" '
        "crop_param { axis: 2 offset: 2 } }"
    ).layer[0]  # fmt: skip


def test_the_axes_may_differ() -> None:
    """Sizes that are given for height and width apart give an offset each."""
    data = L.Input(shape=dict(dim=[1, 3, 9, 9]))
    padded = L.Convolution(data, num_output=2, kernel_h=3, kernel_w=1, pad_h=2, pad_w=3)
    assert crop(padded, data).fn.param.crop_param.offset == [1, 3]
    assert crop(crop(padded, data), data).fn.param.crop_param.offset == [0]


@given(st.integers(1, 4), st.integers(0, 9), st.integers(1, 3), st.integers(0, 20))
def test_an_offset_shows_the_same_pixel(half: int, more: int, dilation: int, cut: int) -> None:
    """Whatever the odd kernel, its pad and its dilation, the crop begins where the first pixel went."""
    data = L.Input(shape=dict(dim=[1, 1, 9, 9]))
    middle = dilation * half
    moved = L.Convolution(data, num_output=1, kernel_size=2 * half + 1, dilation=dilation, pad=middle + more)
    cropped = L.Crop(moved, data, offset=[0, min(cut, more)])
    assert list(crop(moved, data).fn.param.crop_param.offset) == [more]
    assert list(crop(cropped, data).fn.param.crop_param.offset) == sorted({more - min(cut, more), more})[::-1]


@pytest.mark.parametrize(
    ("tops", "reason"),
    [
        (lambda x: (x, L.Input(shape=dict(dim=[1, 3, 9, 9]))), "come from no common top"),
        (lambda x: (L.InnerProduct(x, num_output=2), x), "come from no common top"),
        (lambda x: (pool(x), x), "differ in scale: one pixel of the first is 2 of the second"),
        (lambda x: (conv(x, 3), x), "it would begin at -1"),
        (lambda x: (conv(x, 2, pad=1), x), "it would begin at 1/2"),
        (lambda x: (L.Pooling(x, global_pooling=True), x), "Pooling: kernel_size is missing"),
    ],
)
def test_what_no_crop_aligns(tops: Callable[[Top], tuple[Top, Top]], reason: str) -> None:
    """Tops that have nothing in common, differ in scale or lie between each other's pixels are refused."""
    with pytest.raises(ValueError, match=reason):
        crop(*tops(L.Input(shape=dict(dim=[1, 3, 9, 9]))))


def test_the_size_of_a_crop_does_not_move_it() -> None:
    """A Crop lies where its first bottom does; the second gives its size alone."""
    data, other = (L.Input(shape=dict(dim=[1, 3, 9, 9])) for _ in range(2))
    with pytest.raises(ValueError, match="no common top"):
        crop(L.Crop(data, other), other)
    assert len(to_proto(crop(L.Crop(data, other), data)).layer) == 4
