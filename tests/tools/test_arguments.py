"""The arguments that several tools take: they do the same in each."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / "tools"
NET = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: $N dim: 3 } } }'

NET_TOOLS = {
    "check.py": ["net.prototxt"],
    "show_batch.py": ["net.prototxt"],
    "summary.py": ["net.prototxt"],
    "test.py": ["net.prototxt", "--weights", "none.caffemodel"],
    "time.py": ["net.prototxt"],
}
"""The tools that read a net file, with what they need."""


def ended(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tool: str, *arguments: str) -> str:
    """What a tool says that cannot do what it is told."""
    monkeypatch.setattr(sys, "argv", [tool, *arguments])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(TOOLS / tool), run_name="__main__")
    assert end.value.code
    output = capsys.readouterr()
    return f"{end.value.code}\n{output.out}{output.err}"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a net that has a variable."""
    (tmp_path / "net.prototxt").write_text(NET)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "the text has a variable $N: give it with --define N=VALUE"),
        (["--define", "N"], '"N" is not of the form NAME=VALUE'),
        (["--define", "N=2", "--level", "high"], "argument --level: invalid int value: 'high'"),
    ],
)
@pytest.mark.parametrize("tool", NET_TOOLS)
def test_net_arguments_are_those_of_all(
    tool: str, arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every tool that reads a net takes its variables and its level, and says the same of mistakes in them."""
    assert said in ended(monkeypatch, capsys, tool, *NET_TOOLS[tool], *arguments)


@pytest.mark.parametrize("tool", ["test.py", "time.py"])
@pytest.mark.parametrize("setting", ["max_iter=3", "base_lr=0.1"])
def test_settings_without_a_solver_are_of_layers(
    tool: str, setting: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where there is no solver, a setting of one is refused, not passed over."""
    said = ended(monkeypatch, capsys, tool, *NET_TOOLS[tool], "--define", "N=2", "--set", setting)
    assert f"--set {setting}: LAYER.FIELD=VALUE is wanted" in said
