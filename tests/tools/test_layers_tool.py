"""tools/layers.py as a command."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "layers.py"


def layers(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Run tools/layers.py."""
    monkeypatch.setattr(sys, "argv", [str(TOOL), *names])
    runpy.run_path(str(TOOL), run_name="__main__")


def test_types_are_found_in_any_case(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The entries of the types are printed in the order in which they were asked for."""
    layers(monkeypatch, "POOLING", "convolution", "ReLU")
    headings = [line for line in capsys.readouterr().out.splitlines() if line.startswith("## ")]
    assert headings == ["## Pooling", "## Convolution", "## ReLU"]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Convulution", "; did you mean Convolution, Deconvolution, DepthwiseConvolution?"),
        ("inner", "; did you mean InnerProduct?"),
        ("Xyzzy", ""),
    ],
)
def test_a_wrong_name_gets_the_nearest_types(name: str, hint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A type that is not there ends the command with one line: what it may have been meant for."""
    with pytest.raises(SystemExit) as end:
        layers(monkeypatch, name)
    assert end.value.code == f'error: there is no layer type "{name}"{hint}'
