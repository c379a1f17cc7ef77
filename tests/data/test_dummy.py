"""The DummyData layer: blobs from fillers."""

import numpy as np
import pytest
import torch

from netspec.errors import DataError
from netspec.layers.base import LayerError

OLD = "num: 2 channels: 3 height: 4 width: 5"
GAUSSIAN = 'data_filler { type: "gaussian" }'
FIVE = "data_filler { value: 5 }"


def text(fields, tops=1):
    named = " ".join(f'top: "{i}"' for i in range(tops))
    return f'type: "DummyData" {named} dummy_data_param {{ {fields} }}'


@pytest.mark.parametrize(
    ("fields", "tops", "shapes"),
    [
        ("shape { dim: [2, 3] }", 1, [(2, 3)]),
        ("shape { dim: [2, 3] }", 3, [(2, 3)] * 3),
        ("shape { dim: [2, 3] } shape { dim: 4 }", 2, [(2, 3), (4,)]),
        (OLD, 1, [(2, 3, 4, 5)]),
        (OLD, 2, [(2, 3, 4, 5)] * 2),
        (OLD.replace("channels: 3", "channels: [3, 1]"), 2, [(2, 3, 4, 5), (2, 1, 4, 5)]),
    ],
)
@pytest.mark.parametrize("filler", ["", FIVE, GAUSSIAN])
def test_shapes_and_one_filler(fields, tops, shapes, filler, opened):
    """A shape in either form is for one top or for all, and so is a filler; without one all is 0."""
    source = opened(text(f"{fields} {filler}", tops))
    batch = source.next()
    assert source.shapes == shapes == [tuple(top.shape) for top in batch]
    for top in batch:
        assert top.dtype == torch.float32
        assert top.std() > 0 if filler == GAUSSIAN else (top == (5 if filler else 0)).all()


def test_a_filler_for_each_top(opened):
    """With a filler for each top the constants stay, the others are drawn anew and unlike each other."""
    source = opened(text(f"shape {{ dim: [8, 50] }} {GAUSSIAN} {FIVE} {GAUSSIAN}", 3))
    first, second = source.next(), source.next()
    assert first[1] is second[1]
    assert (first[1] == 5).all()
    drawn = torch.stack([first[0], first[2], second[0], second[2]]).flatten(1)
    assert (torch.corrcoef(drawn) - torch.eye(4)).abs().max() < 0.25
    assert abs(drawn.mean()) < 0.1
    assert abs(drawn.std() - 1) < 0.1


def test_a_pass_is_one_batch(opened):
    """A pass over every record is a single batch, always the same one."""
    source = opened(text(f"shape {{ dim: [4, 6] }} {GAUSSIAN}"))
    first, *_ = [source.next()[0] for _ in range(3)]
    for _ in range(2):
        (batch,) = source.once()
        assert torch.equal(batch[0], first)
    assert source.epoch_size == 4
    assert source.position == 12


def test_labels_are_checked(opened):
    """A label of no class, in the second top, is found as it is drawn."""
    source = opened(text(f"shape {{ dim: 4 }} {GAUSSIAN} {FIVE}", 2))
    source.check_labels(6, None, "loss")
    source.next()
    source = opened(text(f"shape {{ dim: 4 }} {GAUSSIAN} {FIVE}", 2))
    source.check_labels(5, None, "loss")
    with pytest.raises(DataError, match="second top has the label 5, but layer 'loss' knows 0 to 4"):
        source.next()


def test_numbers_of_three_tops_are_no_labels(opened):
    """Which of several tops has the labels is not known, so none is refused."""
    source = opened(text(f"shape {{ dim: 4 }} {FIVE}", 3))
    source.check_labels(5, None, "loss")
    assert source.next()[1].tolist() == [5] * 4


def test_a_large_shape_is_not_filled_early(opened):
    """Opening takes no memory: what cannot be held is for the net to refuse."""
    assert opened(text("shape { dim: [1000000, 1000000] }")).shapes == [(10**6, 10**6)]


@pytest.mark.parametrize(
    ("fields", "tops", "field", "cause"),
    [
        ("shape { dim: 2 }", 0, ("top",), "needs a top"),
        ("", 1, ("dummy_data_param",), "shape is missing"),
        (f"{OLD} shape {{ dim: 2 }}", 1, ("dummy_data_param", "num"), "not both"),
        ("shape { dim: 2 } shape { dim: 3 }", 3, ("dummy_data_param", "shape"), "2 shape for 3 tops"),
        (f"shape {{ dim: 2 }} {FIVE} {FIVE}", 3, ("dummy_data_param", "data_filler"), "2 data_filler for 3 tops"),
        ("num: 2 channels: 3 height: 4", 1, ("dummy_data_param",), "0 width for 1 top; give one"),
        (OLD.replace("height: 4", "height: [4, 4]"), 1, ("dummy_data_param", "height"), "2 height for 1 top;"),
        ("shape { dim: [2, -3] }", 1, ("dummy_data_param", "shape"), "negative size or no rows"),
        ("shape { dim: [0, 3] }", 1, ("dummy_data_param", "shape"), "negative size or no rows"),
        (
            'shape { dim: 2 } data_filler { type: "gauss" }',
            1,
            ("dummy_data_param", "data_filler", "type"),
            'no filler type "gauss"',
        ),
        (
            'shape { dim: 2 } data_filler { type: "uniform" min: 2 max: 1 }',
            1,
            ("dummy_data_param", "data_filler", "min"),
            "min 2 is larger",
        ),
    ],
)
def test_a_wrong_message(fields, tops, field, cause, opened):
    """A message that makes no sense is refused with the guilty field, before anything is filled."""
    with pytest.raises(LayerError, match=cause) as caught:
        opened(text(fields, tops))
    assert caught.value.field == field


def test_draws_depend_on_seed_and_position(opened):
    """Another seed or position draws other numbers, in every top."""
    fields = text(f"shape {{ dim: [2, 9] }} {GAUSSIAN}", 2)
    drawn = [
        top.numpy() for seed in (1, 2) for batch in range(3) for top in opened(fields, seed=seed).once().__next__()
    ]
    assert len(drawn) == 12
    assert len({top.tobytes() for top in drawn}) == 4
    assert np.isfinite(drawn).all()
