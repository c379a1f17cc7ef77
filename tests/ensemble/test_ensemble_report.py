"""The report of an ensemble."""

import pytest
from planted import scores

from netspec.ensemble import report
from netspec.evaluation.hits import Share

NAMES = ("n01443537 goldfish, Carassius auratus", "n02123045 cat")

LABELLED = """\
score file  weight  accuracy     95 % interval
a.npz        0.750    0.7500  0.3006 to 0.9544
b.npz        0.250    0.2500  0.0456 to 0.6994
ensemble              1.0000  0.5101 to 1.0000
ensemble less a.npz: +0.2500, 95 % interval -0.2756 to +0.6090 (McNemar: 1 images won and 0 lost, p = 1)
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
a.npz                        0.7500
b.npz                        0.2500
ensemble                     1.0000
predicted: 2 of 2 classes, 2 to 2 images each
  most: 0 goldfish (2), 1 cat (2)
  fewest: 1 cat (2), 0 goldfish (2)"""


@pytest.mark.parametrize(
    ("labels", "weights", "expected"), [([0, 1, 0, 1], (0.75, 0.25), LABELLED), (None, (), UNLABELLED)]
)
def test_the_report_is_a_table(labels: list[int] | None, weights: tuple[float, ...], expected: str) -> None:
    """With labels it has accuracies and what the ensemble gains; without, how the members agree with it."""
    rows = [[1, 0], [0, 1], [1, 0], [1, 0]], [[0, 1], [1, 0], [0, 1], [0, 1]], [[1, 0], [0, 1], [1, 0], [0, 1]]
    first, second, both = (
        scores(row, labels, name=name, classes=NAMES) for row, name in zip(rows, ("a.npz", "b.npz", ""), strict=True)
    )
    assert report([first, second], weights, both) == expected


def test_many_classes_have_a_top_5() -> None:
    """The label is the fourth of ten in one image and the last in the other; each share has its interval."""
    net = scores([[0.1] * 10] * 2, [3, 9])
    assert report([net], (1,), net).startswith(MANY)


@pytest.mark.parametrize(
    ("hits", "cases", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_intervals_are_those_published(hits: int, cases: int, low: float, high: float) -> None:
    """Wilson's intervals as Newcombe tabulates them ("Two-sided confidence intervals for the single proportion", 1998,
    table I, method 3)."""
    assert Share(hits, cases).interval == pytest.approx((low, high), abs=5e-5)
