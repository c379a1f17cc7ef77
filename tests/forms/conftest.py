"""Forms made up for the tests of how forms are chosen and used."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from made_up import Doubled, Tripled

from netspec.forms import FORMS
from netspec.forms.trial import Setting


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep what is measured to the test."""
    monkeypatch.setenv("NETSPEC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def made_up() -> Iterator[None]:
    """Two forms and no others."""
    kept = dict(FORMS)
    FORMS.clear()
    FORMS[("InnerProduct", "ReLU")] = [Doubled]
    FORMS[("InnerProduct",)] = [Tripled]
    yield
    FORMS.clear()
    FORMS.update(kept)


@pytest.fixture
def setting() -> Setting:
    return Setting(torch.device("cpu"), torch.contiguous_format, torch.no_grad)
