"""Caffe's recordings of single layers, and how far netspec is from them.

Run as a program it prints a table: each layer type, its cases, and the worst error of any top, gradient or state,
relative to the largest magnitude of the recorded array.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from google.protobuf import text_format
from torch import Tensor

from netspec.layers import LAYER_TYPES, Layer
from netspec.schema.netspec_pb2 import LayerParameter, NetParameter

RECORDINGS = Path(__file__).parents[1] / "golden" / "layers"

CASES = [
    (path, case)
    for path in sorted(RECORDINGS.glob("*.npz"))
    for case in dict.fromkeys(key.split("/")[0] for key in np.load(path).files)
]

Compared = list[tuple[str, Tensor]]
"""Names of recorded arrays, with what netspec has in their place."""


class Recording:
    """One case of a file: its layer's message and its arrays by role."""

    def __init__(self, path: Path, case: str) -> None:
        self.arrays = {key[len(case) + 1 :]: value for key, value in np.load(path).items() if key.split("/")[0] == case}
        net = text_format.Parse(str(self.arrays["prototxt"]), NetParameter())
        self.param: LayerParameter = net.layer[0]
        self.bottoms = [self.tensor(f"bottom/{name}") for name in self.param.bottom]
        self.fed = [name for name in self.param.top if f"top_diff/{name}" in self.arrays]

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

    def forward(self) -> Compared:
        """The tops, and the blobs after the pass."""
        layer = self.filled_layer()
        compared = [(f"top/{name}", top) for name, top in self._run(layer).items()]
        for i, blob in enumerate(layer.blobs()):
            after = f"blob_after/{i}"
            compared.append((after if after in self.arrays else f"blob/{i}", blob))
        return compared

    def backward(self) -> Compared:
        """The gradients at bottoms and blobs, fed Caffe's at the tops."""
        layer = self.filled_layer()
        self.bottoms = [x.requires_grad_() for x in self.bottoms]
        tops = self._run(layer)
        torch.autograd.backward([tops[name] for name in self.fed], [self.tensor(f"top_diff/{x}") for x in self.fed])
        sources = {f"bottom_diff/{name}": x for name, x in zip(self.param.bottom, self.bottoms, strict=True)}
        sources |= {f"blob_diff/{i}": blob for i, blob in enumerate(layer.blobs())}
        return [
            (key, torch.zeros_like(x) if x.grad is None else x.grad) for key, x in sources.items() if key in self.arrays
        ]

    def _run(self, layer: Layer) -> dict[str, Tensor]:
        tops = layer(*self.bottoms)
        return dict(zip(self.param.top, tops if isinstance(tops, tuple) else (tops,), strict=True))

    def error(self, key: str, ours: Tensor) -> float:
        """The largest difference from a recorded array, relative to its largest magnitude; infinite where shapes, or
        the places of NaN, differ."""
        theirs = self.arrays[key].astype(np.float64)
        values = ours.detach().numpy().astype(np.float64)
        if values.shape != theirs.shape or (np.isnan(values) != np.isnan(theirs)).any():
            return np.inf
        difference = np.abs(np.nan_to_num(values) - np.nan_to_num(theirs)).max(initial=0)
        return float(difference / max(np.abs(np.nan_to_num(theirs)).max(initial=0), 1e-30)) if difference else 0.0


def main() -> None:
    errors: dict[str, list[float]] = defaultdict(list)
    for path, case in CASES:
        recording = Recording(path, case)
        compared = recording.forward() + (recording.backward() if recording.fed else [])
        errors[path.stem].append(max((recording.error(*pair) for pair in compared), default=0.0))
    print(f"{'type':<26}{'cases':>5}  worst error")
    for name, worst in errors.items():
        print(f"{name:<26}{len(worst):>5}  {max(worst):.1e}")
    print(f"{'all':<26}{len(CASES):>5}  {max(map(max, errors.values())):.1e}")


if __name__ == "__main__":
    main()
