"""Pictures of a confusion matrix and of a calibration."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from netspec.errors import NetspecError
from netspec.evaluation.calibration import Calibration
from netspec.evaluation.confusion import Confusion
from netspec.evaluation.names import titled
from netspec.files import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DPI = 150
_MARGIN = 3.0  # inches for the names of classes on either axis
_CELL, _SMALLEST_CELL = 0.4, 0.095  # inches; the smallest has room for a line of the smallest letters
_LETTERS, _SMALLEST_LETTERS = 9.0, 5.0  # points
_COUNTED = 30
"""Up to so many classes the cells have their counts in them."""
_NAMED = 210
"""So many names have room on an axis; of more classes some have none."""
_LONGEST_NAME = 28


def figure(width: float, height: float) -> Figure:
    """An empty figure, sizes in inches; NetspecError where matplotlib is missing."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise NetspecError("matplotlib is not installed: pip install 'netspec[plot]'") from None
    return Figure((width, height), layout="constrained")


def draw_confusion(matrix: Confusion, names: Sequence[str], out: Path) -> None:
    """Draw a confusion matrix as a PNG: a row a label, each cell the share of the row's images, without the classes
    that are neither a label nor a prediction. The colours follow the square root of the share, so that rare confusions
    are seen. NetspecError where it cannot be."""
    seen = np.flatnonzero(matrix.counts.any(0) | matrix.counts.any(1))
    counts, classes = matrix.counts[np.ix_(seen, seen)], len(seen)
    cell = max(_SMALLEST_CELL, min(_CELL, 12 / classes))
    side = max(3.0, cell * min(classes, _NAMED))
    page = figure(side + _MARGIN, side + _MARGIN)
    axes = page.subplots()
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    letters = max(_SMALLEST_LETTERS, min(_LETTERS, cell * 72 * 0.7))
    _name_classes(axes, [titled(int(number), names) for number in seen], letters)
    if classes <= _COUNTED:
        _write_counts(axes, counts, shares, letters)
    axes.set_title(f"images of each label by prediction; {counts.trace()} of {counts.sum()} right")
    _save(page, out)


def _name_classes(axes: Axes, titles: Sequence[str], letters: float) -> None:
    ticks = range(0, len(titles), math.ceil(len(titles) / _NAMED))
    shown = [titles[tick][:_LONGEST_NAME] for tick in ticks]
    axes.set_xticks(ticks, shown, rotation=90, fontsize=letters, parse_math=False)
    axes.set_yticks(ticks, shown, fontsize=letters, parse_math=False)
    axes.set_xlabel("prediction")
    axes.set_ylabel("label")
    if len(titles) > _COUNTED:
        axes.grid(alpha=0.25, linewidth=0.3)  # leads the eye from a cell to its names


def _write_counts(axes: Axes, counts: NDArray[np.int64], shares: NDArray[np.float64], letters: float) -> None:
    for (label, prediction), count in np.ndenumerate(counts):
        if count:
            colour = "white" if shares[label, prediction] > 0.4 else "black"
            axes.text(prediction, label, str(count), ha="center", va="center", color=colour, fontsize=letters)


def draw_calibration(found: Calibration, out: Path) -> None:
    """Draw a reliability diagram and how many images each of its bins has, as a PNG. NetspecError where it cannot
    be."""
    page = figure(6, 7)
    upper, lower = page.subplots(2, sharex=True, height_ratios=(3, 1))
    filled = [row for row in found.bins if row.images]
    for axes, heights in ((upper, [row.accuracy for row in filled]), (lower, [row.images for row in filled])):
        widths = [row.high - row.low for row in filled]
        axes.bar([row.low for row in filled], heights, widths, align="edge", edgecolor="white")
        axes.grid(alpha=0.3)
    upper.plot([0, 1], [0, 1], "k--", linewidth=1, label="as sure as right")
    upper.plot([row.probability for row in filled], [row.accuracy for row in filled], "C1.", label="means of the bins")
    upper.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy", title=f"expected calibration error {found.error:.4f}")
    upper.legend()
    lower.set(xlabel="probability of the prediction", ylabel="images")
    _save(page, out)


def _save(page: Figure, out: Path) -> None:
    content = io.BytesIO()
    page.savefig(content, format="png", dpi=_DPI)
    write_whole(out, content.getvalue())
