"""Which class is taken for which."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from netspec.evaluation import Share, confusion
from netspec.scores import Scores


def test_by_hand(worked: Scores) -> None:
    """Rows are labels, columns predictions; recall is by row, precision by column."""
    found = confusion(worked)
    assert found.counts.tolist() == [[2, 1, 1], [0, 1, 2], [0, 0, 0]]
    assert found.recall == [Share(2, 4), Share(1, 3), Share(0, 0)]
    assert found.precision == [Share(2, 2), Share(1, 2), Share(0, 3)]


def test_worst_and_most_confused(worked: Scores) -> None:
    """Classes without images are not the worst, and what never happened is no confusion; equals stand by number."""
    found = confusion(worked)
    assert found.worst(5) == [1, 0] and found.worst(1) == [1]
    assert found.most_confused(9) == [(1, 2, 2), (0, 1, 1), (0, 2, 1)]
    assert found.most_confused(1) == [(1, 2, 2)]


def test_as_scikit_learn_has_it(made: Callable[..., Scores]) -> None:
    """Matrix, recall and precision of random scores are those of scikit-learn."""
    metrics = pytest.importorskip("sklearn.metrics")
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 7, 300)
    scores = made(draw.normal(size=(300, 7)) + np.eye(7)[labels], labels)
    found = confusion(scores)
    np.testing.assert_array_equal(found.counts, metrics.confusion_matrix(labels, scores.predictions))
    for shares, score in ((found.recall, metrics.recall_score), (found.precision, metrics.precision_score)):
        values = [share.value for share in shares]
        assert values == pytest.approx(score(labels, scores.predictions, average=None))
