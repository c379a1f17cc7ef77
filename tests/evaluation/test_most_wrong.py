"""The images that a net is most wrongly sure of."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from netspec.evaluation import Wrong, most_wrong
from netspec.scores import Scores


def test_a_planted_image_comes_first(made: Callable[..., Scores]) -> None:
    """Of many wrong images the surest is the first, whatever is right and surer."""
    draw = np.random.default_rng(0)
    rows, labels = draw.normal(size=(100, 5)), draw.integers(0, 5, 100)
    rows[41], labels[41] = [0, 0, 30, 0, 0], 4
    rows[7], labels[7] = [90, 0, 0, 0, 0], 0
    first, *others = most_wrong(made(rows, labels), 10)
    assert (first.row, first.key, first.label, first.prediction) == (41, "image 41", 4, 2)
    assert first.probability == pytest.approx(1) and len(others) == 9
    assert [one.probability for one in others] == sorted((one.probability for one in others), reverse=True)


def test_equals_stand_in_their_order(made: Callable[..., Scores]) -> None:
    """Images that are as sure stand as in the set; those that are right are not among them."""
    scores = made([[1, 0], [0, 1], [1, 0], [1, 0]], [1, 0, 0, 1], kind="softmax")
    assert most_wrong(scores, 9) == [
        Wrong(0, "image 0", 1, 0, 1.0), Wrong(1, "image 1", 0, 1, 1.0), Wrong(3, "image 3", 1, 0, 1.0),
    ]  # fmt: skip
    assert most_wrong(made([[1, 0]], [0]), 9) == []
