"""Every layer type against what Caffe itself computed."""

from pathlib import Path

import numpy as np
import pytest
import torch
from google.protobuf import text_format
from torch import Tensor

from netspec.layers import LAYER_TYPES, Layer
from netspec.schema.netspec_pb2 import LayerParameter, NetParameter

RECORDINGS = Path(__file__).parents[1] / "golden" / "layers"
TOLERANCE = 1e-4
"""Relative to the largest magnitude of an array."""

CASES = [
    pytest.param((path, case), id=f"{path.stem}-{case}")
    for path in sorted(RECORDINGS.glob("*.npz"))
    for case in dict.fromkeys(key.split("/")[0] for key in np.load(path).files)
]


class Recording:
    """One case of a file: its layer's message and its arrays by role."""

    def __init__(self, path: Path, case: str) -> None:
        self.arrays = {key[len(case) + 1 :]: value for key, value in np.load(path).items() if key.split("/")[0] == case}
        net = text_format.Parse(str(self.arrays["prototxt"]), NetParameter())
        self.param: LayerParameter = net.layer[0]
        self.bottoms = [self.tensor(f"bottom/{name}") for name in self.param.bottom]

    def tensor(self, key: str) -> Tensor:
        return torch.from_numpy(self.arrays[key].copy())

    def layer(self) -> Layer:
        """The layer in the recorded phase, its blobs still on the meta device."""
        layer = LAYER_TYPES[self.param.type].build(self.param, [tuple(x.shape) for x in self.bottoms])
        return layer.train(str(self.arrays["phase"]) == "TRAIN")

    def filled_layer(self) -> Layer:
        """The layer with the recorded blobs."""
        layer = self.layer().to_empty(device="cpu")
        with torch.no_grad():
            for i, blob in enumerate(layer.blobs()):
                assert blob.shape == self.arrays[f"blob/{i}"].shape
                blob.copy_(self.tensor(f"blob/{i}"))
        return layer

    def check(self, key: str, ours: Tensor) -> None:
        theirs = self.arrays[key]
        assert tuple(ours.shape) == theirs.shape, key
        atol = TOLERANCE * max(np.abs(theirs).max(initial=0), 1e-30)
        np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=0, atol=atol, err_msg=key)


def run(layer: Layer, bottoms: list[Tensor]) -> tuple[Tensor, ...]:
    tops = layer(*bottoms)
    return tops if isinstance(tops, tuple) else (tops,)


@pytest.fixture(params=CASES)
def recording(request: pytest.FixtureRequest) -> Recording:
    """Each recorded case in turn."""
    return Recording(*request.param)


def test_forward(recording: Recording) -> None:
    """Every top, and every blob that the pass changes, is Caffe's."""
    layer = recording.filled_layer()
    tops = run(layer, recording.bottoms)
    assert len(tops) == len(recording.param.top)
    for name, top in zip(recording.param.top, tops, strict=True):
        recording.check(f"top/{name}", top)
    for i, blob in enumerate(layer.blobs()):
        after = f"blob_after/{i}"
        recording.check(after if after in recording.arrays else f"blob/{i}", blob)


def test_backward(recording: Recording) -> None:
    """Fed Caffe's gradients at the tops, every gradient at bottoms and blobs is Caffe's."""
    fed = [name for name in recording.param.top if f"top_diff/{name}" in recording.arrays]
    if not fed:
        pytest.skip("Caffe has no backward here")
    layer = recording.filled_layer()
    bottoms = [x.requires_grad_() for x in recording.bottoms]
    tops = dict(zip(recording.param.top, run(layer, bottoms), strict=True))
    torch.autograd.backward([tops[name] for name in fed], [recording.tensor(f"top_diff/{name}") for name in fed])
    grads = {f"bottom_diff/{name}": x for name, x in zip(recording.param.bottom, bottoms, strict=True)}
    grads |= {f"blob_diff/{i}": blob for i, blob in enumerate(layer.blobs())}
    for key, tensor in grads.items():
        if key in recording.arrays:
            recording.check(key, torch.zeros_like(tensor) if tensor.grad is None else tensor.grad)


def test_shapes_without_data(recording: Recording) -> None:
    """On the meta device, where shapes are found, every top has the recorded shape."""
    tops = run(recording.layer(), [x.to("meta") for x in recording.bottoms])
    for name, top in zip(recording.param.top, tops, strict=True):
        assert tuple(top.shape) == recording.arrays[f"top/{name}"].shape
