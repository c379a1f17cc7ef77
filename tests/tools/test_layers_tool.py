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
    """The entries of the types are printed in the order in which they were asked for, with the messages inside."""
    layers(monkeypatch, "POOLING", "convolution", "ReLU")
    headings = [line for line in capsys.readouterr().out.splitlines() if line.startswith("## ")]
    assert headings == ["## Pooling", "## Convolution", "## FillerParameter", "## ReLU"]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Convulution", "; did you mean Convolution, Deconvolution, DepthwiseConvolution?"),
        ("inner", "; did you mean InnerProduct, InnerProductParameter?"),
        ("Xyzzy", ""),
    ],
)
def test_a_wrong_name_gets_the_nearest_types(name: str, hint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A type that is not there ends the command with one line: what it may have been meant for."""
    with pytest.raises(SystemExit) as end:
        layers(monkeypatch, name)
    assert end.value.code == f'error: there is no layer type or message "{name}"{hint}'


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("Data", ["| `random_resized_crop` |", "| `area_min` | float; 0.08 |", "| `aspect_min` | float; 0.75 |"]),
        ("transformationparameter", ["## TransformationParameter", "| `erasing_probability` | float; 0 |"]),
        ("RandomResizedCropParameter", ["| `aspect_max` | float; 1.33333 |"]),
        ("SolverParameter", ["| `base_lr` | float |"]),
    ],
)
def test_fields_of_messages_are_shown(
    name: str, rows: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A layer type is shown with the messages inside its own, each once; any message of the schema by its own name."""
    layers(monkeypatch, name)
    lines = capsys.readouterr().out.splitlines()
    for row in rows:
        assert sum(line.startswith(row) for line in lines) == 1
