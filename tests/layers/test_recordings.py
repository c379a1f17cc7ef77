"""Every layer type against what Caffe itself computed."""

import subprocess
import sys
from pathlib import Path

import pytest
from recordings import CASES, Recording

TOLERANCE = 1e-4
"""Relative to the largest magnitude of an array."""

SHAPED_BY_DATA = {"Filter"}
"""Layer types whose tops' sizes are known only once their bottoms' values are."""


@pytest.fixture(params=CASES, ids=[f"{path.stem}-{case}" for path, case in CASES])
def recording(request: pytest.FixtureRequest) -> Recording:
    """Each recorded case in turn."""
    return Recording(*request.param)


def test_forward(recording: Recording) -> None:
    """Every top, and every blob that the pass changes, is Caffe's."""
    compared = recording.forward()
    assert [key for key, ours in compared if not recording.error(key, ours) <= TOLERANCE] == []
    assert len(compared) >= len(recording.param.top)


def test_backward(recording: Recording) -> None:
    """Fed Caffe's gradients at the tops, every gradient at bottoms and blobs is Caffe's."""
    if not recording.fed:
        pytest.skip("Caffe has no backward here")
    compared = recording.backward()
    assert [key for key, ours in compared if not recording.error(key, ours) <= TOLERANCE] == []


def test_shapes_without_data(recording: Recording) -> None:
    """On the meta device, where shapes are found, every top has the recorded shape."""
    if recording.param.type in SHAPED_BY_DATA:
        pytest.skip("the sizes depend on the data")
    tops = recording.layer()(*[x.to("meta") for x in recording.bottoms])
    for name, top in zip(recording.param.top, tops if isinstance(tops, tuple) else (tops,), strict=True):
        assert tuple(top.shape) == recording.arrays[f"top/{name}"].shape


def test_all_recordings_are_here() -> None:
    """The recordings are the 139 cases of 51 layer types that the real Caffe was run on."""
    assert len(CASES) == 139
    assert len({path for path, _ in CASES}) == 51


def test_the_table_of_errors() -> None:
    """Run as a program, the recordings print each type with its cases and its worst error."""
    program = Path(__file__).with_name("recordings.py")
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, check=True)
    *_, last = done.stdout.splitlines()
    kind, cases, worst = last.split()
    assert (kind, cases) == ("all", str(len(CASES)))
    assert 0 < float(worst) <= TOLERANCE
