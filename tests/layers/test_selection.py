"""BatchReindex, Crop, Filter and Tile against indexing, and what they refuse."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from netspec.errors import DataError
from netspec.layers import LayerError

REINDEX = 'name: "l" type: "BatchReindex" bottom: "x" bottom: "i" top: "y"'
FILTER = 'type: "Filter" top: "u" top: "v"'


def numbered(*shape):
    """A bottom whose values are all different, and which wants a gradient."""
    return torch.arange(float(np.prod(shape))).reshape(shape).requires_grad_()


@settings(max_examples=50)
@given(indices=st.lists(st.integers(0, 3), max_size=7))
def test_batch_reindex(build, indices):
    """Items come in any order and number, and each gets the sum of its copies' gradients."""
    x = numbered(4, 2, 3)
    y = build(REINDEX, x.shape, (len(indices),))(x, torch.tensor(indices, dtype=torch.float32))
    np.testing.assert_array_equal(y.detach().numpy(), x.detach().numpy()[np.array(indices, int)])
    y.sum().backward()
    assert x.grad[:, 0, 0].tolist() == [indices.count(i) for i in range(4)]


@pytest.mark.parametrize(("index", "shown"), [(4.0, "4"), (-1.0, "-1"), (float("nan"), "nan")])
def test_batch_reindex_outside(build, index, shown):
    """An index that names no item of the batch at hand is the data's error, and names the layer."""
    layer = build(REINDEX, (6, 2), (2,))
    with pytest.raises(DataError, match=rf'layer "l": the index {shown} is not from 0 to 3'):
        layer(torch.zeros(4, 2), torch.tensor([0, index]))


@settings(max_examples=60)
@given(data=st.data())
def test_crop(build, data):
    """From `axis` on the top is what bottom 1's size leaves from the offsets on; the rest of the gradient is 0."""
    below = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    axis = data.draw(st.integers(0, len(below) - 1))
    offsets = [data.draw(st.integers(0, size - 1)) for size in below[axis:]]
    sizes = [data.draw(st.integers(1, size - offset)) for size, offset in zip(below[axis:], offsets, strict=True)]
    x, reference = numbered(*below), torch.empty(*(7,) * axis, *sizes)
    fields = " ".join(f"offset: {offset}" for offset in offsets)
    y = build(f'type: "Crop" crop_param {{ axis: {axis - len(below)} {fields} }}', x.shape, reference.shape)(
        x, reference
    )
    place = (slice(None),) * axis + tuple(slice(o, o + s) for o, s in zip(offsets, sizes, strict=True))
    expected = np.zeros(below)
    expected[place] = 1
    np.testing.assert_array_equal(y.detach().numpy(), x.detach().numpy()[place])
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), expected)


@pytest.mark.parametrize(("fields", "start"), [("", 0), ("crop_param { offset: 2 }", 2)])
def test_crop_offset_for_all_axes(build, fields, start):
    """From axis 2 on one offset is for all axes; it is 0 where none is given."""
    x = numbered(2, 3, 7, 6)
    y = build(f'type: "Crop" {fields}', x.shape, (1, 1, 4, 3))(x, torch.empty(1, 1, 4, 3))
    assert torch.equal(y, x[:, :, start : start + 4, start : start + 3])


@settings(max_examples=50)
@given(selector=st.lists(st.sampled_from([0.0, 1.0, -0.5]), min_size=1, max_size=6), axes=st.integers(0, 2))
def test_filter(build, selector, axes):
    """Items whose selector is not 0 stay, in every top, and only they get a gradient; there may be none."""
    a, b = numbered(len(selector), 3), numbered(len(selector), 2, 2)
    chosen = torch.tensor(selector).reshape(-1, *(1,) * axes)
    kept = [i for i, value in enumerate(selector) if value]
    u, v = build(FILTER, a.shape, b.shape, chosen.shape)(a, b, chosen)
    assert torch.equal(u, a[kept])
    assert torch.equal(v, b[kept])
    (u.sum() + v.sum()).backward()
    for x in (a, b):
        assert x.grad.flatten(1)[:, 0].tolist() == [float(value != 0) for value in selector]


def test_filter_before_the_first_pass(build):
    """Without data the tops count as if everything were selected; a single top is no tuple."""
    bottoms = [torch.empty(shape, device="meta") for shape in [(5, 3), (5, 2, 2), (5, 1)]]
    layer = build(FILTER, *(x.shape for x in bottoms))
    assert [top.shape for top in layer(*bottoms)] == [(5, 3), (5, 2, 2)]
    assert build('type: "Filter" top: "u"', (5, 3), (5,))(*bottoms[::2]).shape == (5, 3)


@settings(max_examples=30)
@given(axis=st.integers(-3, 2), tiles=st.integers(1, 4))
def test_tile(build, axis, tiles):
    """The top is numpy's tile along one axis, and each value gets the gradients of all its copies."""
    x = numbered(2, 3, 4)
    y = build(f'type: "Tile" tile_param {{ axis: {axis} tiles: {tiles} }}', x.shape)(x)
    np.testing.assert_array_equal(y.detach().numpy(), np.concatenate([x.detach().numpy()] * tiles, axis))
    y.sum().backward()
    assert x.grad.unique().tolist() == [tiles]


def crop(fields):
    return f'type: "Crop" crop_param {{ {fields} }}'


X = (2, 3, 7, 5)
ERRORS = [
    (REINDEX, [X, (2, 1)], "bottom 1 is (2, 1); indices need 1 axis", ("bottom",)),
    (REINDEX, [(), (2,)], "BatchReindex needs a bottom of at least 1 axes, not 0", ()),
    (
        'type: "BatchReindex" bottom: "x" bottom: "i" top: "x"',
        [X, (2,)],
        "BatchReindex does not work in place: give its top another name",
        ("top",),
    ),
    (crop("axis: 4"), [X, X], "axis 4 does not exist: the bottom has 4 axes", ("crop_param", "axis")),
    (crop("offset: [1, 1, 1]"), [X, X], "offset is given 3 times; 2 axes are cut", ("crop_param", "offset")),
    (crop(""), [X, (2, 3)], "bottom 1 is (2, 3); it needs the 4 axes of bottom 0", ("bottom",)),
    (
        crop("offset: [0, 3]"),
        [X, (2, 3, 4, 3)],
        "axis 3 of size 5 has no 3 values from offset 3 on",
        ("crop_param", "offset"),
    ),
    (FILTER, [X, (2,)], "2 bottoms need 1 top, not 2", ("top",)),
    (FILTER, [X, X, (2, 3)], "the selector is (2, 3); every axis but its first must have size 1", ("bottom",)),
    (FILTER, [X, X, ()], "the selector is (); every axis but its first must have size 1", ("bottom",)),
    (FILTER, [X, (3,), (2,)], "bottom 1 is (3,), but the selector has 2 items", ("bottom",)),
    ('type: "Tile"', [X], "tiles must be given and at least 1", ("tile_param", "tiles")),
    ('type: "Tile" tile_param { tiles: -2 }', [X], "tiles must be given and at least 1", ("tile_param", "tiles")),
    (
        'type: "Tile" tile_param { axis: 4 tiles: 2 }',
        [X],
        "axis 4 does not exist: the bottom has 4 axes",
        ("tile_param", "axis"),
    ),
]


@pytest.mark.parametrize(("text", "bottoms", "reason", "field"), ERRORS, ids=[reason for _, _, reason, _ in ERRORS])
def test_error(build, text, bottoms, reason, field):
    """A wrong parameter or shape is refused with its numbers and the path of its field."""
    with pytest.raises(LayerError) as error:
        build(text, *bottoms)
    assert (error.value.reason, error.value.field) == (reason, field)
