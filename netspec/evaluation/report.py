"""A folder with all that an evaluation finds, and its summary in a few lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from netspec.evaluation.calibration import calibration
from netspec.evaluation.confusion import confusion
from netspec.evaluation.drawing import draw_calibration, draw_confusion, figure
from netspec.evaluation.hits import accuracy, top_accuracy
from netspec.evaluation.names import class_words, titled
from netspec.evaluation.pictures import draw_wrong
from netspec.evaluation.tables import confusion_table, per_class_table, wrong_table
from netspec.evaluation.wrong import most_wrong
from netspec.files import make_folder, write_whole
from netspec.scores import Scores

Pictures = Callable[[Sequence[int]], NDArray[np.uint8]]
"""What gives the pixels (R, C, H, W) of some rows of scores."""

_TOP, _SHOWN, _ON_SHEET = 5, 5, 48
_SHEET = "worst.png"


def refuse_unwritable_report(folder: Path) -> None:
    """Make the folder of a report; NetspecError where it cannot be written to, or what draws is missing: to be told
    before a long pass over a set."""
    figure(1, 1)
    make_folder(folder)


def summary(scores: Scores) -> str:
    """What there is to say of scores in a few lines: accuracy, calibration, worst and most confused classes. DataError
    where the scores have no labels."""
    names, matrix, found = class_words(scores), confusion(scores), calibration(scores)
    lines = [f"{len(scores.keys)} images of {len(names)} classes", f"accuracy {accuracy(scores)}"]
    lines += [f"top-{_TOP} {top_accuracy(scores, _TOP)}"] if len(names) > _TOP else []
    lines.append(
        f"negative log likelihood {found.log_likelihood:.4f}, Brier score {found.brier:.4f}, "
        f"expected calibration error {found.error:.4f}"
    )
    recall = matrix.recall
    worst = ((titled(number, names), recall[number]) for number in matrix.worst(_SHOWN))
    lines.append("worst classes: " + ", ".join(f"{title} ({share.hits} of {share.cases})" for title, share in worst))
    pairs = [
        f"{titled(label, names)} for {titled(prediction, names)} ({count} of {recall[label].cases})"
        for label, prediction, count in matrix.most_confused(_SHOWN)
    ]
    return "\n".join([*lines, f"most often taken: {', '.join(pairs)}" if pairs else "every image is right"])


def write_report(folder: Path, scores: Scores, pictures: Pictures | None = None) -> list[Path]:
    """Write the report of scores into a folder and return its files: per_class.csv, confusion.csv and .png,
    calibration.png, worst.csv, and worst.png where `pictures` gives the images and one of them is wrong. NetspecError
    where the scores have no labels, matplotlib is missing, or a file cannot be written."""
    names, matrix, wrong = class_words(scores), confusion(scores), most_wrong(scores, len(scores.keys))
    refuse_unwritable_report(folder)
    tables = {
        "per_class.csv": per_class_table(matrix, names),
        "confusion.csv": confusion_table(matrix, names),
        "worst.csv": wrong_table(wrong, names),
    }
    for name, text in tables.items():
        write_whole(folder / name, text.encode())
    draw_confusion(matrix, names, folder / "confusion.png")
    draw_calibration(calibration(scores), folder / "calibration.png")
    written = [*tables, "confusion.png", "calibration.png"]
    drawn = wrong[:_ON_SHEET]
    if drawn and pictures:
        draw_wrong(drawn, pictures([one.row for one in drawn]), names, folder / _SHEET)
        written.append(_SHEET)
    else:
        (folder / _SHEET).unlink(missing_ok=True)  # of an earlier report
    return [folder / name for name in written]
