"""The recorded net, for tests of all formats."""

from pathlib import Path

import pytest

from netspec import Net

TRAINING = Path(__file__).parents[1] / "golden" / "training"


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Net:
    """The recorded test net, with the weights that Caffe stored after 100 iterations."""
    monkeypatch.setenv("NETSPEC_CACHE", str(tmp_path))
    return Net(TRAINING / "net.prototxt", weights=TRAINING / "run_iter_100.caffemodel")
