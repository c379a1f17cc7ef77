"""The tables of a report as CSV texts."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence

import numpy as np

from netspec.evaluation.confusion import Confusion
from netspec.evaluation.hits import Share
from netspec.evaluation.names import titled
from netspec.evaluation.wrong import Wrong

_PER_CLASS = (
    "class", "name", "images", "predicted", "correct", "recall", "recall_low", "recall_high", "precision",
    "most_often_taken_for", "times",
)  # fmt: skip


def per_class_table(matrix: Confusion, names: Sequence[str]) -> str:
    """A line a class: its images, how often it is predicted, its recall with the 95 % interval, its precision, and the
    class that its images are most often taken for. What has no cases stays empty."""
    rows: list[Sequence[object]] = [_PER_CLASS]
    wrong = matrix.counts - np.diag(matrix.counts.diagonal())
    for number, (recall, precision) in enumerate(zip(matrix.recall, matrix.precision, strict=True)):
        other = int(wrong[number].argmax())
        times = int(wrong[number, other])
        low, high = map(_number, recall.interval) if recall.cases else ("", "")
        counts = recall.cases, precision.cases, recall.hits
        figures = _share(recall), low, high, _share(precision)
        rows.append((number, names[number], *counts, *figures, names[other] if times else "", times))
    return _text(rows)


def confusion_table(matrix: Confusion, names: Sequence[str]) -> str:
    """The confusion matrix: a line a label, a column a prediction."""
    titles = [titled(number, names) for number in range(len(names))]
    rows = ((title, *row) for title, row in zip(titles, matrix.counts.tolist(), strict=True))
    return _text([("label / prediction", *titles), *rows])


def wrong_table(wrong: Iterable[Wrong], names: Sequence[str]) -> str:
    """A line an image that is wrongly predicted."""
    rows = (
        (one.key, titled(one.label, names), titled(one.prediction, names), _number(one.probability)) for one in wrong
    )
    return _text([("key", "label", "prediction", "probability"), *rows])


def _share(share: Share) -> str:
    return _number(share.value)


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4f}"


def _text(rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
