"""Scores that the tests of the evaluation share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from netspec.scores import Scores

Made = Callable[..., Scores]


@pytest.fixture
def made() -> Made:
    """Make scores of rows of numbers, with labels and anything else."""

    def made(rows: Sequence[Sequence[float]], labels: Sequence[int] | None, **others: object) -> Scores:
        keys = tuple(f"image {number}" for number in range(len(rows)))
        known = None if labels is None else np.array(labels, np.int64)
        return Scores(np.array(rows, np.float32), keys, known, **others)  # type: ignore[arg-type]

    return made


@pytest.fixture
def worked(made: Made) -> Scores:
    """Three classes, of which the last has no image; the first is taken for itself twice and once for each other, the
    second once for itself and twice for the last."""
    one_hot = np.eye(3)[[0, 0, 1, 2, 1, 2, 2]]
    return made(one_hot, [0, 0, 0, 0, 1, 1, 1], classes=("n00000001 cat, pussy", "dog", "fish"), kind="softmax")
