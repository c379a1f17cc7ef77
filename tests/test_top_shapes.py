"""Shapes of tops, found once on a machine."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from netspec import Net, parse_net
from netspec.errors import SpecError
from netspec.layers.activation import ReLU
from netspec.layers.base import LAYER_TYPES, Layer, layer

NET = """
layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ dim: 2 dim: 3 dim: 8 dim: 8 }} }} }}
layer {{
  name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param {{ num_output: {} kernel_size: 3 }}
}}
layer {{ name: "relu" type: "{}" bottom: "conv" top: "relu" }}
"""

LOADED = """
import sys, netspec
net = netspec.Net("net.prototxt")
net(data=__import__("torch").zeros(2, 3, 8, 8))
print([name for name in ("torch._dynamo", "sympy") if name in sys.modules], net.blob_shapes["relu"])
"""


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, ...]]]:
    """The shapes that a ReLU was run on, with an empty cache folder."""
    seen: list[tuple[int, ...]] = []
    forward = ReLU.forward

    def counted(self: ReLU, x: Tensor) -> Tensor:
        seen.append(tuple(x.shape))
        return forward(self, x)

    monkeypatch.setenv("NETSPEC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(ReLU, "forward", counted)
    yield seen


def test_a_layer_is_run_once(runs: list[tuple[int, ...]]) -> None:
    """The second net with an equal layer on equal bottoms takes the shape that the first found; other bottoms are
    run."""
    for outputs in (4, 4, 5, 4):
        assert Net(parse_net(NET.format(outputs, "ReLU"))).blob_shapes["relu"] == (2, outputs, 6, 6)
    assert runs == [(2, 4, 6, 6), (2, 5, 6, 6)]


def test_a_layer_that_fails_fails_again(runs: list[tuple[int, ...]]) -> None:
    """An error is not remembered as a shape."""
    text = NET.format(4, "ReLU") + 'layer { name: "c" type: "Concat" bottom: "data" bottom: "relu" top: "c" }'
    for _ in range(2):
        with pytest.raises(SpecError, match="only axis 1 may differ"):
            Net(parse_net(text))


def test_a_layer_of_the_users_is_run_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registered layer from outside the package may change from run to run."""
    monkeypatch.setenv("NETSPEC_CACHE", str(tmp_path))
    calls = []

    @layer("CountedHere")
    class CountedHere(Layer):
        def forward(self, x: Tensor) -> Tensor:
            calls.append(x.shape)
            return x * 2

    try:
        for _ in range(2):
            assert Net(parse_net(NET.format(4, "CountedHere"))).blob_shapes["relu"] == (2, 4, 6, 6)
    finally:
        del LAYER_TYPES["CountedHere"]
    assert calls == [torch.Size((2, 4, 6, 6))] * 2


def test_a_known_net_opens_without_the_compiler_of_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first process that opens a net may load torch.compile's machinery, the second does not."""
    monkeypatch.setenv("NETSPEC_CACHE", str(tmp_path / "cache"))
    (tmp_path / "net.prototxt").write_text(NET.format(4, "ReLU"))
    said = [
        subprocess.run([sys.executable, "-c", LOADED], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert said[1] == "[] (2, 4, 6, 6)\n"
