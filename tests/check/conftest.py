"""The folder in which the tests of the check work."""

from pathlib import Path

import pytest
from good import NET, SOLVER


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a net and a solver in which nothing is found."""
    monkeypatch.chdir(tmp_path)
    Path("net.prototxt").write_text(NET)
    Path("net.solver").write_text(SOLVER)
    return tmp_path
