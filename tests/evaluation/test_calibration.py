"""Whether a net is right as often as it is sure."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from netspec import DataError
from netspec.evaluation import calibration
from netspec.evaluation.calibration import probabilities
from netspec.scores import Scores

Made = Callable[..., Scores]

SURE = [(0.9, 0), (0.9, 0), (0.9, 1), (0.9, 0), (0.55, 1), (0.55, 0)]
"""The probability of class 0, and the label, of two bins: four of 0.9 with 3 right, two of 0.55 with 1 right."""


def test_by_hand(made: Made) -> None:
    """The error weighs each bin's distance by its images: (4 |0.75 - 0.9| + 2 |0.5 - 0.55|) / 6."""
    found = calibration(made([[p, 1 - p] for p, _ in SURE], [label for _, label in SURE], kind="softmax"), bins=5)
    filled = [row for row in found.bins if row.images]
    assert [(row.images, row.accuracy) for row in filled] == [(2, 0.5), (4, 0.75)]
    assert [(row.low, row.high) for row in filled] == [(0.4, 0.6), (0.8, 1.0)]
    assert [row.probability for row in filled] == pytest.approx([0.55, 0.9])
    assert found.error == pytest.approx((4 * 0.15 + 2 * 0.05) / 6, abs=1e-7)
    assert found.log_likelihood == pytest.approx(-np.log([0.9, 0.9, 0.1, 0.9, 0.45, 0.55]).mean(), abs=1e-6)
    assert found.brier == pytest.approx((3 * 2 * 0.1**2 + 2 * 0.9**2 + 2 * 0.55**2 + 2 * 0.45**2) / 6, abs=1e-6)


@pytest.mark.parametrize(("score", "error", "brier"), [(100, 0.0, 0.0), (-100, 1.0, 2.0)])
def test_the_ends(made: Made, score: float, error: float, brier: float) -> None:
    """Sure and right is no error, sure and wrong the greatest; the likelihood of what is taken for impossible is that
    of the smallest float32, as in Caffe."""
    found = calibration(made([[score, -score]] * 3, [0] * 3))
    assert (found.error, found.brier) == pytest.approx((error, brier), abs=1e-12)
    assert found.log_likelihood == pytest.approx(0 if score > 0 else -math.log(1.17549435e-38), abs=1e-6)


def test_raw_scores_and_their_softmax_are_one(made: Made) -> None:
    """Scores of either kind have the same figures, however large the raw ones are."""
    raw = np.random.default_rng(0).normal(size=(50, 4)) * 3 + 1000
    labels = np.arange(50) % 4
    softmax = probabilities(made(raw, labels))
    ours, theirs = calibration(made(raw, labels)), calibration(made(softmax, labels, kind="softmax"))
    for name in ("error", "log_likelihood", "brier"):
        assert getattr(ours, name) == pytest.approx(getattr(theirs, name), abs=1e-5)


def test_every_image_is_in_one_bin(made: Made) -> None:
    """Bins are open below and closed above, 0 excepted; an image on a bound is in the lower one."""
    found = calibration(made([[1.0, 0.0], [0.5, 0.5], [0.75, 0.25]], [0, 0, 0], kind="softmax"), bins=4)
    assert [row.images for row in found.bins] == [0, 1, 1, 1]


def test_as_scikit_learn_has_it(made: Made) -> None:
    """The likelihood and the score of two classes are those of scikit-learn, whose Brier score counts one of them."""
    metrics = pytest.importorskip("sklearn.metrics")
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 2, 200)
    scores = made(draw.normal(size=(200, 2)), labels)
    found, likely = calibration(scores), probabilities(scores)
    assert found.log_likelihood == pytest.approx(metrics.log_loss(labels, likely))
    assert found.brier == pytest.approx(2 * metrics.brier_score_loss(labels, likely[:, 1]))


@pytest.mark.parametrize("row", [[0.5, 0.4], [1.5, -0.5]])
def test_no_distribution(made: Made, row: list[float]) -> None:
    """What is said to be a distribution and is none is named."""
    with pytest.raises(
        DataError, match=r'^a\.npz: kind is "softmax", but the scores of image 1 are no probabilities: '
    ):
        calibration(made([[0.5, 0.5], row], [0, 0], kind="softmax", origin="a.npz"))
