"""Labels against the classes that they are to be of."""

import numpy as np
import pytest

from netspec.data.labels import LabelRule
from netspec.errors import DataError


def where(index):
    return f"record {index}"


@pytest.mark.parametrize("labels", [[], [0, 3], [0.5, 3.99], [-0.5], [255], [[0, 1], [255, 3]]])
def test_labels_inside(labels):
    """Classes, the ignored label, and fractions whose whole part is a class pass, in any number of axes."""
    LabelRule(4, 255, "loss").hold(np.array(labels), where)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([0, 4, -1], "record 1 has the label 4, but layer 'loss' knows 0 to 3 (2 such records)"),
        ([0, 1, -1], "record 2 has the label -1, but layer 'loss' knows 0 to 3 (1 such records)"),
        ([float("nan")], "record 0 has the label nan, but layer 'loss' knows 0 to 3 (1 such records)"),
        ([2147483647], "record 0 has the label 2147483647, but layer 'loss' knows 0 to 3 (1 such records)"),
        ([[0, 0], [9, 9]], "record 1 has the label 9, but layer 'loss' knows 0 to 3 (1 such records)"),
    ],
)
def test_labels_outside(labels, said):
    """The first label outside is named with its record, its layer, and how many records have such."""
    with pytest.raises(DataError) as caught:
        LabelRule(4, None, "loss").hold(np.array(labels), where)
    assert str(caught.value) == said


@pytest.mark.parametrize("shares", [[[0, 1, 0]], [[0.33, 0.33, 0.33]], [[0.2, 0.8, 0], [1, 0, 0]]])
def test_shares_inside(shares):
    """Shares of the classes sum to 1, up to rounding."""
    LabelRule(3, None, "loss", shares=True).hold(np.array(shares), where)


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ([[0, 1, 0], [0, 5, 7]], "record 1 has the labels 0, 5, 7"),
        ([[1.5, -0.5, 0]], "record 0 has the labels 1.5, -0.5, 0"),
        ([[0, 0, 0]], "record 0 has the labels 0, 0, 0"),
        ([[1, 0, float("nan")]], "record 0 has the labels 1, 0, nan"),
        ([[[0, 1], [-1, 0]]], "record 0 has the labels 0, 1, -1, 0"),
    ],
)
def test_shares_outside(shares, said):
    """The first record whose labels are no shares is named with them; those of many places cannot be below 0."""
    with pytest.raises(DataError) as caught:
        LabelRule(3, None, "loss", shares=True).hold(np.array(shares), where)
    reason = "but layer 'loss' takes several as shares of its 3 classes, 0 or more, with the sum 1 (1 such records)"
    assert str(caught.value) == f"{said}, {reason}"


def test_a_rule_for_shares_takes_single_labels_as_classes():
    """One label a record is a class, which mixing makes shares of later."""
    with pytest.raises(DataError, match="record 1 has the label 3"):
        LabelRule(3, None, "loss", shares=True).hold(np.array([0, 3]), where)


def test_a_fraction_is_told_once(caplog):
    """The log names the first fraction among classes, and what it counts as, once."""
    rule = LabelRule(4, None, "loss")
    for labels in ([0, 1], [2, 1.7, 0.5], [1.5]):
        rule.hold(np.array(labels), where)
    said = "record 1 has the label 1.7; to layer 'loss' it is the class 1, as in Caffe (2 such records)"
    assert [record.getMessage() for record in caplog.records] == [said]
