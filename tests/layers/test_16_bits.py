"""Every recorded layer, computed in BF16 and FP16."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from recordings import CASES, Recording
from torch import Tensor

from netspec.layers import LAYER_TYPES, Layer
from netspec.layers.loss import Loss
from netspec.precision import computing_in
from netspec.schema.netspec_pb2 import Precision

Build = Callable[..., Layer]

TOLERANCE = {Precision.BF16: 2**-5, Precision.FP16: 2**-8}
"""Relative to the largest magnitude of an array: a few roundings to 8 or 11 bits."""

FULL = 1e-4
"""That of float32."""

DTYPE = {Precision.BF16: torch.bfloat16, Precision.FP16: torch.float16}

PRODUCTS = {"LSTM", "RNN"}
"""Layer types that are given float32 and multiply in 16 bits all the same: their states need the one, their weights
are large enough for the other."""


class In16Bits(Recording):
    """A recording whose layer is called as a net in this precision calls it."""

    def __init__(self, path: Path, case: str, kind: Precision.Kind) -> None:
        super().__init__(path, case)
        self.kind = kind
        is_full = not self.layer().takes_16_bits and self.param.type not in PRODUCTS
        self.tolerance = FULL if is_full else TOLERANCE[kind]

    def _run(self, layer: Layer) -> dict[str, Tensor]:
        bottoms = [x.to(DTYPE[self.kind]) if layer.takes_16_bits else x for x in self.bottoms]
        with computing_in(self.kind, torch.device("cpu")):
            tops = layer(*bottoms)
        named = zip(self.param.top, tops if isinstance(tops, tuple) else (tops,), strict=True)
        return {name: top.float() for name, top in named}


@pytest.mark.parametrize("kind", TOLERANCE, ids=Precision.Kind.Name)
@pytest.mark.parametrize(("path", "case"), CASES, ids=[f"{path.stem}-{case}" for path, case in CASES])
def test_layers_are_caffes_within_rounding(path: Path, case: str, kind: Precision.Kind) -> None:
    """Tops, states and gradients are Caffe's within the roundings of the precision; those of layers that do not take 16
    bits are as good as ever."""
    recording = In16Bits(path, case, kind)
    compared = recording.forward() + (In16Bits(path, case, kind).backward() if recording.fed else [])
    wrong = {
        key: recording.error(key, ours)
        for key, ours in compared
        if not recording.error(key, ours) <= recording.tolerance
    }
    assert wrong == {}
    assert all(blob.dtype == torch.float32 for blob in recording.filled_layer().blobs())


LOSSES = {name for name, known in LAYER_TYPES.items() if issubclass(known.build, Loss)}
INDICES = {"Accuracy", "ArgMax", "Embed", "ROIPooling"}
SUMS = {"LRN", "MVN", "Normalize", "Reduction", "Interp", *PRODUCTS, "LSTMUnit"}
FUNCTIONS = {"BNLL", "Exp", "Log", "Power", "Sigmoid", "Softmax", "TanH"}
OUTSIDE = {"HDF5Output", "Python"}


def test_what_needs_float32() -> None:
    """Losses, layers that count or read indices, long sums, steep functions and code of others are given float32; so is
    a layer type that says nothing."""
    full = {name for name, known in LAYER_TYPES.items() if not known.build.takes_16_bits}
    assert len(LOSSES) >= 8
    assert full >= LOSSES | INDICES | SUMS | FUNCTIONS | OUTSIDE
    assert not Layer.takes_16_bits


@pytest.mark.parametrize(("method", "takes"), [("MAX", True), ("AVE", True), ("STOCHASTIC", False)])
@pytest.mark.parametrize("text", ["Pooling' pooling_param { kernel_size: 2", "SPP' spp_param { pyramid_height: 2"])
def test_stochastic_pooling_needs_float32(build: Build, text: str, method: str, takes: bool) -> None:
    """It draws from running sums; other pooling takes 16 bits."""
    layer = build(f"name: 'pool' type: '{text} pool: {method} }}", (2, 3, 8, 8))
    assert layer.takes_16_bits == takes


@pytest.mark.parametrize("kind", ["LSTM", "RNN"])
def test_states_over_time_are_float32(build: Build, kind: str) -> None:
    """What goes on from one timestep to the next, and from one pass to the next, is not rounded."""
    layer = build(f"name: 'over' type: '{kind}' top: 'y' recurrent_param {{ num_output: 4 }}", (3, 2, 5), (3, 2))
    with torch.no_grad():
        for blob in layer.blobs():
            blob.normal_()
    with computing_in(Precision.BF16, torch.device("cpu")):
        top = layer(torch.randn(3, 2, 5), torch.ones(3, 2))
    assert top.dtype == torch.float32
    assert isinstance(layer.last, Tensor)
    assert layer.last.dtype == torch.float32
    assert not torch.equal(layer.last, layer.last.bfloat16().float())


def test_stored_statistics_are_float32(build: Build) -> None:
    """Those of the forks' BN and of BatchNorm are as exact for bottoms of 16 bits as for the same values in 32."""
    x = (1 + torch.randn(8, 3, 5, 5)).bfloat16()
    for text in ("BN' bn_param { momentum: 0.5 }", "BatchNorm'"):
        ours, theirs = (build(f"name: 'norm' type: '{text}", x.shape, phase="TRAIN") for _ in range(2))
        ours(x)
        theirs(x.float())
        for own, other in zip(ours.blobs(), theirs.blobs(), strict=True):
            torch.testing.assert_close(own, other, rtol=1e-5, atol=1e-6)
        assert any(blob.any() for blob in theirs.blobs())


def test_a_gate_of_32_bits_leaves_images_in_16(build: Build) -> None:
    """Axpy's factors, mostly a Sigmoid's, do not make the images float32."""
    x = torch.randn(2, 3, 4, 4)
    layer = build("name: 'axpy' type: 'Axpy'", (2, 3), x.shape, x.shape)
    assert layer(torch.rand(2, 3), x.bfloat16(), x.bfloat16()).dtype == torch.bfloat16
    assert layer(torch.rand(2, 3), x, x.bfloat16()).dtype == torch.float32
