"""The images that a net is most wrongly sure of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netspec.evaluation.calibration import probabilities
from netspec.evaluation.hits import labels_of
from netspec.scores import Scores


@dataclass(frozen=True)
class Wrong:
    """An image that is wrongly predicted: its row among the scores, its key, its label, the prediction, and the
    probability of that."""

    row: int
    key: str
    label: int
    prediction: int
    probability: float


def most_wrong(scores: Scores, count: int) -> list[Wrong]:
    """Up to `count` wrong images, those whose predictions are surest first, of equal ones in their order. DataError
    where the scores have no labels."""
    labels, predictions = labels_of(scores), scores.predictions
    rows = np.arange(len(labels))
    sure = probabilities(scores)[rows, predictions]
    wrong = rows[labels != predictions]
    order = wrong[np.argsort(-sure[wrong], kind="stable")][:count]
    return [
        Wrong(int(row), scores.keys[row], int(labels[row]), int(predictions[row]), float(sure[row])) for row in order
    ]
