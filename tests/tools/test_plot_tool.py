"""tools/plot.py: what it takes, and what it says of a mistake."""

import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools" / "plot.py"
LOG = str(ROOT / "tests" / "golden" / "caffe_train.log")
SOLVER = str(ROOT / "tests" / "solver" / "digits.solver")


def plot(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", [str(TOOL), *arguments])
    runpy.run_path(str(TOOL), run_name="__main__")


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ([LOG], "<!-- test accuracy -->"),
        ([LOG, LOG], f"<!-- {LOG}: test accuracy -->"),
        (["--lr", SOLVER], f"<!-- {SOLVER} -->"),
    ],
)
def test_a_picture(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: list[str],
    shown: str,
) -> None:
    """Runs or rates are drawn, and the name of the picture is printed."""
    pytest.importorskip("matplotlib")
    out = tmp_path / "x.svg"
    plot(monkeypatch, *arguments, "--out", str(out))
    assert shown in out.read_text() and capsys.readouterr().out == f"{out}\n"


def test_a_plateau_has_its_note(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The flat line of a plateau says that drops are to come."""
    pytest.importorskip("matplotlib")
    solver = tmp_path / "p.solver"
    solver.write_text('net: "n" max_iter: 9 base_lr: 1 lr_policy: "plateau" gamma: 0.1 watch: "a" test_interval: 1')
    plot(monkeypatch, "--lr", str(solver), "--out", str(tmp_path / "x.svg"))
    assert "drops where a test is no better" in (tmp_path / "x.svg").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing", "--out", "x.png"], "error: missing: this is no log"),
        (["--lr", "missing.solver", "--out", "x.png"], "error: missing.solver:1:1: there is no such file"),
        (["--out", "x.png"], "give runs, or solver files after --lr"),
        ([LOG, "--lr", SOLVER, "--out", "x.png"], "give runs, or solver files after --lr"),
        ([LOG, "--out", "x.jpg"], "x.jpg ends neither in .png nor in .svg"),
    ],
)
def test_a_mistake_is_one_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    """What is wrong is said at the end of the program, without a traceback."""
    with pytest.raises(SystemExit) as ended:
        plot(monkeypatch, *arguments)
    message = f"{ended.value.code}{capsys.readouterr().err}"
    assert said in message and "Traceback" not in message
