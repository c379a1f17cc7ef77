"""The report of an ensemble."""

import numpy as np
import pytest
from planted import scores

from netspec.ensemble import report

NAMES = ("n01443537 goldfish, Carassius auratus", "n02123045 cat")

LABELLED = """\
score file  weight  accuracy     95 % interval
a.npz        0.250    0.2500  0.0456 to 0.6994
b.npz        0.750    0.7500  0.3006 to 0.9544
ensemble              1.0000  0.5101 to 1.0000
ensemble less b.npz: +0.2500, 95 % interval -0.2756 to +0.6090 (McNemar: 1 images won and 0 lost, p = 1)
predicted: 2 of 2 classes, 2 to 2 images each
  most: 0 goldfish (2), 1 cat (2)
  fewest: 1 cat (2), 0 goldfish (2)"""

MANY = """\
score file  weight  accuracy     95 % interval   top-5     95 % interval
a.npz        1.000    0.0000  0.0000 to 0.6576  0.5000  0.0945 to 0.9055
ensemble              0.0000  0.0000 to 0.6576  0.5000  0.0945 to 0.9055
"""

UNLABELLED = """\
score file  weight  as the ensemble
a.npz                        0.2500
b.npz                        0.7500
ensemble                     1.0000
predicted: 2 of 2 classes, 2 to 2 images each
  most: 0 goldfish (2), 1 cat (2)
  fewest: 1 cat (2), 0 goldfish (2)"""


@pytest.mark.parametrize(
    ("labels", "weights", "expected"), [([0, 1, 0, 1], (0.25, 0.75), LABELLED), (None, (), UNLABELLED)]
)
def test_the_report_is_a_table(labels: list[int] | None, weights: tuple[float, ...], expected: str) -> None:
    """With labels it has accuracies and what the ensemble gains; without, how the members agree with it."""
    rows = [[0, 1], [1, 0], [0, 1], [0, 1]], [[1, 0], [0, 1], [1, 0], [1, 0]], [[1, 0], [0, 1], [1, 0], [0, 1]]
    first, second, both = (
        scores(row, labels, name=name, classes=NAMES) for row, name in zip(rows, ("a.npz", "b.npz", ""), strict=True)
    )
    assert report([first, second], weights, both) == expected


def test_many_classes_have_a_top_5() -> None:
    """The label is the fourth of ten in one image and the last in the other; each share has its interval."""
    net = scores([[0.1] * 10] * 2, [3, 9])
    assert report([net], (1,), net).startswith(MANY)


def test_all_of_five_classes_are_the_top_5() -> None:
    """So nothing is said of it."""
    net = scores([[0.2] * 5], [0])
    assert "top-5" not in report([net], (1,), net)


@pytest.mark.parametrize(
    ("classes", "fewest"),
    [
        ((), "4 (0), 3 (0), 1 (0), 2 (1), 0 (3)"),
        (("cat", "dog", "2", "3", "4"), "1 dog (0), 2 (1), 0 cat (3)"),
    ],
)
def test_classes_that_are_only_numbers(classes: tuple[str, ...], fewest: str) -> None:
    """Of a net that was trained on a part of its classes, the others are shown only where they are predicted."""
    net = scores(np.eye(5)[[0, 0, 0, 2]], classes=classes)
    assert report([net], (1,), net).endswith(f"  fewest: {fewest}")
