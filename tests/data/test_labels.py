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
