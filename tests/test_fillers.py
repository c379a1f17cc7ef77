"""The distribution, bounds and fans of every filler."""

import math

import pytest
import torch
from google.protobuf import text_format

from netspec.fillers import FILLER_TYPES, FillerError, fill
from netspec.schema.netspec_pb2 import FillerParameter

SHAPE = (40, 30, 5, 4)
FAN_IN, FAN_OUT = 600, 800


def filled(text, shape=SHAPE, seed=0):
    blob = torch.full(shape, torch.nan)
    fill(blob, text_format.Parse(text, FillerParameter()), torch.Generator().manual_seed(seed))
    return blob


@pytest.mark.parametrize(
    ("text", "mean", "std"),
    [
        ("", 0, 0),
        ("value: 2.5", 2.5, 0),
        ('type: "uniform" min: -1 max: 3', 1, 4 / math.sqrt(12)),
        ('type: "gaussian" mean: 2 std: 0.5', 2, 0.5),
        ('type: "gaussian" std: 2 sparse: 10', 0, 2 * math.sqrt(10 / 40)),
        ('type: "xavier"', 0, math.sqrt(1 / FAN_IN)),
        ('type: "xavier" variance_norm: FAN_OUT', 0, math.sqrt(1 / FAN_OUT)),
        ('type: "xavier" variance_norm: AVERAGE', 0, math.sqrt(2 / (FAN_IN + FAN_OUT))),
        ('type: "msra"', 0, math.sqrt(2 / FAN_IN)),
        ('type: "msra" variance_norm: 1', 0, math.sqrt(2 / FAN_OUT)),
    ],
)
def test_moments(text, mean, std):
    """Mean and standard deviation are the rule's."""
    blob = filled(text)
    assert blob.mean().item() == pytest.approx(mean, abs=4 * std / math.sqrt(blob.numel()))
    assert blob.std().item() == pytest.approx(std, rel=0.02, abs=1e-7)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ('type: "uniform"', 0, 1),
        ('type: "uniform" min: -3 max: -2', -3, -2),
        ('type: "xavier"', -math.sqrt(3 / FAN_IN), math.sqrt(3 / FAN_IN)),
    ],
)
def test_bounds(text, low, high):
    """Uniform values reach almost to their bounds and not past them."""
    blob, slack = filled(text), (high - low) * 1e-3
    assert low <= blob.min().item() < low + slack
    assert high - slack < blob.max().item() <= high


@pytest.mark.parametrize(("shape", "fan_out"), [((50,), 50), ((50, 20), 50), ((), 1)])
def test_fan_of_few_axes(shape, fan_out):
    """A blob without a second axis has its count as fan out; a scalar has fans of 1."""
    blob = torch.cat([filled('type: "xavier" variance_norm: FAN_OUT', shape, seed).flatten() for seed in range(200)])
    assert blob.abs().max().item() == pytest.approx(math.sqrt(3 / fan_out), rel=0.02)


def test_sparse():
    """A sparse gaussian keeps each weight with probability sparse / shape[0]."""
    assert (filled('type: "gaussian" sparse: 4') != 0).float().mean().item() == pytest.approx(0.1, abs=0.01)


def test_positive_unitball():
    """Each output's weights are positive and sum to 1."""
    blob = filled('type: "positive_unitball"')
    assert blob.min() >= 0
    torch.testing.assert_close(blob.sum((1, 2, 3)), torch.ones(40))


@pytest.mark.parametrize(
    ("size", "row"), [(1, [1]), (3, [0.5, 1, 0.5]), (4, [0.25, 0.75, 0.75, 0.25]), (2, [0.5, 0.5])]
)
def test_bilinear(size, row):
    """Every pair of channels holds the kernel of bilinear upsampling."""
    blob, row = filled('type: "bilinear"', (2, 3, size, size)), torch.tensor(row, dtype=torch.float32)
    torch.testing.assert_close(blob, (row[:, None] * row).expand(2, 3, size, size))


def test_generator_decides():
    """The same generator gives the same values, another seed others; the global generator is left alone."""
    state = torch.get_rng_state()
    assert torch.equal(filled('type: "msra"'), filled('type: "msra"'))
    assert not torch.equal(filled('type: "msra"'), filled('type: "msra"', seed=1))
    assert torch.equal(torch.get_rng_state(), state)


def test_parameter_is_filled_in_place():
    """A parameter that requires a gradient is filled in place and records nothing."""
    blob = torch.nn.Parameter(torch.zeros(3))
    fill(blob, FillerParameter(value=2))
    assert blob.tolist() == [2, 2, 2]
    assert blob.is_leaf


def test_names():
    """FILLER_TYPES names Caffe's seven fillers."""
    assert set(FILLER_TYPES) == {
        "constant", "uniform", "gaussian", "positive_unitball", "xavier", "msra", "bilinear",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "shape", "reason", "field"),
    [
        ('type: "xaviar"', (2, 3), 'there is no filler type "xaviar"; did you mean "xavier"?', "type"),
        ('type: "?"', (2, 3), f'there is no filler type "?"; there are {", ".join(FILLER_TYPES)}', "type"),
        (
            'type: "bilinear"',
            (2, 3, 4, 5),
            "bilinear fills blobs of 4 axes with a square kernel, not (2, 3, 4, 5)",
            "type",
        ),
        ('type: "bilinear"', (4, 4), "bilinear fills blobs of 4 axes with a square kernel, not (4, 4)", "type"),
        ('type: "uniform" min: 2', (2, 3), "min 2 is larger than max 1", "min"),
        ('type: "gaussian" std: -1', (2, 3), "std must not be negative, but is -1", "std"),
        ('type: "gaussian" sparse: 3', (2, 3), "sparse must be from 0 to the 2 outputs, not 3", "sparse"),
        ('type: "xavier" sparse: 1', (2, 3), "sparse works with gaussian, not with xavier", "sparse"),
    ],
)
def test_error(text, shape, reason, field):
    """A filler that makes no sense is refused with its numbers and its field."""
    with pytest.raises(FillerError) as error:
        filled(text, shape)
    assert error.value.reason == reason
    assert error.value.field == (field,)
