"""tools/check.py as a command."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def check(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    """Run tools/check.py in the folder of the cases; what it ends with: its exit status, or a message."""
    monkeypatch.chdir(ROOT / "tests" / "check")
    monkeypatch.setattr(sys, "argv", ["check.py", *arguments])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ROOT / "tools" / "check.py"), run_name="__main__")
    return end.value.code


@pytest.mark.parametrize(("file", "status"), [("frozen.prototxt", 0), ("mistakes.prototxt", 1)])
def test_the_exit_status_says_what_would_be_refused(
    file: str, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Traps and notes leave the status 0; an error makes it 1."""
    assert check(monkeypatch, file) == status
    assert capsys.readouterr().out.startswith(f"{file}: net")


def test_a_missing_file_is_an_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a file that is not there nothing is guessed."""
    assert check(monkeypatch, "none.prototxt") == 1
    assert capsys.readouterr().out.startswith("error: none.prototxt: there is no such file\n")


def test_findings_come_as_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With --format json, every file is an object with its findings and costs."""
    assert check(monkeypatch, "--format", "json", "frozen.prototxt", "mistakes.solver") == 1
    net, solver, _ = json.loads(capsys.readouterr().out)
    assert (net["file"], net["kind"], net["dialect"]) == ("frozen.prototxt", "net", ["today's form"])
    assert net["sizes"]["TRAIN"] == {"parameters": 20, "multiply_adds": 30}
    assert net["findings"] == [
        {
            "severity": "trap", "line": 3, "column": 66, "hint": "",
            "message": 'layer "ip": lr_mult is 0 in every layer: nothing learns',
            "source_line": Path("frozen.prototxt").read_text().splitlines()[2],
        }
    ]  # fmt: skip
    assert 'SolverParameter has no field "bse_lr"' in [finding["message"] for finding in solver["findings"]]


def test_variables_and_shapes_are_given(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """--define and --shape reach the check."""
    arguments = ["template.prototxt", "--define", "CHANNELS=2"]
    assert check(monkeypatch, *arguments) == 0
    assert check(monkeypatch, *arguments, "--shape", "other=1,2") == 1
    assert '"other" is no input of this net' in capsys.readouterr().out


def test_a_wrong_option_gets_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """A definition that is none ends the command with a message."""
    assert "is not of the form NAME=VALUE" in str(check(monkeypatch, "template.prototxt", "--define", "CHANNELS"))
