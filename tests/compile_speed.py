"""How long a 152-layer ResNet takes from its text to a Net with filled weights, on one thread.

Prints the seconds of each run: `python tests/compile_speed.py`. The mark is 2.
"""

import sys
import tempfile
import time
from pathlib import Path

import torch

from netspec import Net, NetSpec, to_text
from netspec import layers as L

sys.path.append(str(Path(__file__).parents[1] / "tools"))

from zoo_resnet import resnet, stem

RUNS = 5


def resnet152() -> str:
    """The text of a net with 152 layers in the papers' count, 670 in Caffe's."""
    n = NetSpec()
    n.data = L.Input(shape={"dim": [2, 3, 224, 224]})
    resnet(n, stem(n, n.data), 152, classes=1000)
    return to_text(n.to_proto())


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "resnet152.prototxt"
        path.write_text(resnet152())
        for _ in range(RUNS):
            start = time.perf_counter()
            net = Net(path, "TRAIN")
            seconds = time.perf_counter() - start
            parameters = sum(param.numel() for param in net.parameters())
            print(f"{len(net.layers)} layers, {parameters} parameters: {seconds:.2f} s")


if __name__ == "__main__":
    main()
