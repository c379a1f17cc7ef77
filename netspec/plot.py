"""Draws the figures of runs: loss, accuracy and rate over the iterations."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from netspec.curves import Curves, Points
from netspec.errors import NetspecError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH, _PANEL_HEIGHT = 9, 3.2
"""Inches."""

_WIDE_RANGE = 20
"""From which ratio of the largest to the smallest rate on the axis is logarithmic."""

_OF_NET = re.compile(r"^(train|test( \d+)?) ")


def draw_curves(runs: Sequence[Curves], out: Path) -> None:
    """Draw runs into one picture of three panels: the loss, the other outputs of train (solid) and test nets (dashed),
    and the rate. Each run has its colour; in the picture of a single one, each output. NetspecError where matplotlib
    is missing or `out` cannot be written."""
    figure, panels = _figure("loss", "accuracy", "rate")
    outputs: dict[str, int] = {}
    for index, run in enumerate(runs):
        for name, points in run.points.items():
            if panel := panel_of(name, points):
                colour = index if len(runs) > 1 else outputs.setdefault(_OF_NET.sub("", name), len(outputs))
                label = f"{run.name}: {name}" if len(runs) > 1 else name
                _line(panels[panel], points, label, colour, dashed=name.startswith("test "))
    _save(figure, panels, out)


def draw_rates(rates: Mapping[str, Points], notes: Mapping[str, str], out: Path) -> None:
    """Draw the rates of runs that have not begun, each with what there is to note about it; as `draw_curves`."""
    figure, panels = _figure("rate")
    for index, (name, points) in enumerate(rates.items()):
        label = f"{name} ({notes[name]})" if name in notes else name
        _line(panels["rate"], points, label, index)
    _save(figure, panels, out)


def panel_of(name: str, points: Points) -> str | None:
    """The panel for the figures of a name. The loss is that which the log shows; a share between 0 and 1 is an
    accuracy, whatever it is called, and not drawn where it is one of many numbers of an output."""
    if name == "lr":
        return "rate"
    if name == "loss":
        return "loss"
    if name.endswith("]"):
        return None
    if "loss" not in name and all(0 <= value <= 1 or math.isnan(value) for value in points.values()):
        return "accuracy"
    return "loss" if name.startswith("test ") else None


def _line(panel: Axes, points: Points, label: str, colour: int, dashed: bool = False) -> None:
    panel.plot(
        [*points], [*points.values()], color=f"C{colour}", label=label, linewidth=1.2,
        linestyle="--" if dashed else "-",
        marker="." if dashed or len(points) == 1 else "",
        drawstyle="steps-post" if panel.get_ylabel() == "rate" else "default",  # a drop is no slope
    )  # fmt: skip


def _figure(*titles: str) -> tuple[Figure, dict[str, Axes]]:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise NetspecError("matplotlib is not installed: pip install 'netspec[plot]'") from None
    figure = Figure((_WIDTH, _PANEL_HEIGHT * len(titles)), layout="constrained")
    axes = figure.subplots(len(titles), sharex=True, squeeze=False)[:, 0]
    for title, panel in zip(titles, axes, strict=True):
        panel.set_ylabel(title)
        panel.grid(alpha=0.3)
    axes[-1].set_xlabel("iteration")
    return figure, dict(zip(titles, axes, strict=True))


def _save(figure: Figure, panels: Mapping[str, Axes], out: Path) -> None:
    for title, panel in panels.items():
        least, most = panel.dataLim.minposy, panel.dataLim.ymax
        if title == "rate" and panel.lines and most > _WIDE_RANGE * least:
            panel.set_yscale("log")
        if panel.lines:
            panel.legend(fontsize="small")
        else:
            panel.text(0.5, 0.5, "nothing in the log", transform=panel.transAxes, ha="center", va="center")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(out, dpi=120)
    except OSError as error:
        raise NetspecError(f"{out}: cannot be written: {error.strerror}") from None
