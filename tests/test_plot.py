"""Pictures of runs: what is drawn where, and the files."""

import subprocess
import sys
from pathlib import Path

import pytest

from netspec.curves import Curves
from netspec.errors import NetspecError
from netspec.plot import draw_curves, draw_rates, panel_of

POINTS = {0: 0.1, 100: 0.5}


@pytest.mark.parametrize(
    ("name", "points", "panel"),
    [
        ("loss", {0: 0.5}, "loss"),
        ("lr", {0: 0.5}, "rate"),
        ("train loss", {0: 0.5}, None),
        ("test loss", {0: 0.5}, "loss"),
        ("test 1 loss", {0: 70.0}, "loss"),
        ("train accuracy", {0: 0.5}, "accuracy"),
        ("test accuracy", {0: 0.0, 1: 1.0, 2: float("nan")}, "accuracy"),
        ("test 1 top5", {0: 0.5}, "accuracy"),
        ("test cross_entropy", {0: 2.0, 1: 0.5}, "loss"),
        ("train score", {0: -2.0}, None),
        ("test per_class[3]", {0: 0.5}, None),
    ],
)
def test_panels(name: str, points: dict[int, float], panel: str | None) -> None:
    """The smoothed loss and those of tests are losses; shares between 0 and 1 accuracies; one of many is not drawn."""
    assert panel_of(name, points) == panel


def test_several_runs_are_one_picture(tmp_path: Path) -> None:
    """All are in it with a legend that names them, under the three titles; a picture replaces the one before."""
    pytest.importorskip("matplotlib")
    runs = [Curves(name, {"loss": POINTS, "lr": POINTS, "test accuracy": POINTS}) for name in ("one run", "the other")]
    out = tmp_path / "new" / "curves.svg"
    for drawn in (runs[:1], runs):
        draw_curves(drawn, out)
        text = out.read_text()
        assert [f"<!-- {title} -->" in text for title in ("loss", "accuracy", "rate", "iteration")] == [True] * 4
        for run in runs:
            assert (f"<!-- {run.name}: test accuracy -->" in text) == (len(drawn) == 2)
    draw_curves(runs, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_panel_with_nothing_in_it(tmp_path: Path) -> None:
    """A run without tests, or one that has only begun, or only diverged, is drawn all the same."""
    pytest.importorskip("matplotlib")
    for index, points in enumerate(({0: 1.0}, {0: float("nan")}, {0: 0.0}, {})):
        draw_curves([Curves("run", {"loss": points, "lr": points})], tmp_path / f"{index}.svg")
        assert "<!-- nothing in the log -->" in (tmp_path / f"{index}.svg").read_text()


def test_rates(tmp_path: Path) -> None:
    """Rates ahead are one panel, with the note beside the name."""
    pytest.importorskip("matplotlib")
    draw_rates({"a.solver": POINTS, "test b": POINTS}, {"test b": "flat"}, tmp_path / "rates.svg")
    text = (tmp_path / "rates.svg").read_text()
    assert "<!-- a.solver -->" in text and "<!-- test b (flat) -->" in text and "<!-- accuracy -->" not in text


def test_a_picture_that_cannot_be_written(tmp_path: Path) -> None:
    """The message names the file and the cause."""
    pytest.importorskip("matplotlib")
    (tmp_path / "file").touch()
    with pytest.raises(NetspecError, match=r"file/x\.png: cannot be written: "):
        draw_rates({"a": POINTS}, {}, tmp_path / "file" / "x.png")


def test_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What to install is said."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(NetspecError, match=r"pip install 'netspec\[plot\]'"):
        draw_rates({"a": POINTS}, {}, tmp_path / "x.png")


def test_neither_is_loaded_before_it_is_needed() -> None:
    """netspec and a run without events load neither matplotlib nor TensorBoard."""
    code = "import sys, netspec.plot; print([n for n in ('matplotlib', 'tensorboard') if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
