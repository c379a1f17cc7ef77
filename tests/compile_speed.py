"""How long a 152-layer ResNet takes from its text to a Net with filled weights, on one thread.

Prints the seconds of each run: `python tests/compile_speed.py`. The mark is 2.
"""

import tempfile
import time
from pathlib import Path

import torch
from torchvision_nets.resnet import resnet

from netspec import Net, to_text

RUNS = 5


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "resnet152.prototxt"
        path.write_text(to_text(resnet(152)))
        for _ in range(RUNS):
            start = time.perf_counter()
            net = Net(path, "TRAIN")
            seconds = time.perf_counter() - start
            parameters = sum(param.numel() for param in net.parameters())
            print(f"{len(net.layers)} layers, {parameters} parameters: {seconds:.2f} s")


if __name__ == "__main__":
    main()
