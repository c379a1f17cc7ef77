"""The tools as Python runs them, but in the process of the tests."""

import os
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "tools"))  # as Python does for a script


@pytest.fixture(autouse=True)
def stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a tool that ends its process at once raise SystemExit, as any other does."""
    monkeypatch.setattr(os, "_exit", sys.exit)
