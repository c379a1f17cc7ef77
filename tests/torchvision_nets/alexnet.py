"""AlexNet as torchvision has it: one tower, no LRN (Krizhevsky, 2014)."""

from functools import partial

import zoo_blocks
from zoo_blocks import conv_relu, dropout, full, relu

from netspec import NetSpec

pool = partial(zoo_blocks.pool, round_mode="FLOOR")


def alexnet(n: NetSpec, classes: int, ratio: float = 0.5) -> None:
    """Output fc8 (N, classes). With images of 223 to 254 pixels the last pooling gives the 6 x 6 that fc6 wants."""
    x = pool(n, "pool1", conv_relu(n, "conv1", n.data, 64, 11, stride=4, pad=2), 3, 2)
    x = pool(n, "pool2", conv_relu(n, "conv2", x, 192, 5, pad=2), 3, 2)
    for name, outputs in (("conv3", 384), ("conv4", 256), ("conv5", 256)):
        x = conv_relu(n, name, x, outputs, 3, pad=1)
    x = pool(n, "pool5", x, 3, 2)
    for name in ("fc6", "fc7"):
        x = relu(n, name, full(n, name, dropout(n, name, x, ratio), 4096))
    full(n, "fc8", x, classes)
