"""GoogLeNet (after Szegedy et al., 2014) with batch normalization, as torchvision has it, and its net in the zoo."""

from __future__ import annotations

from functools import partial

from zoo_blocks import conv_bn_relu, dropout, end, full, global_pool, pool
from zoo_data import CLASSES, start
from zoo_inception import GOOGLENET, inception

from netspec import NetSpec
from netspec.builder import Top
from netspec.schema.netspec_pb2 import NetParameter

cbr = partial(conv_bn_relu, eps=1e-3)


def googlenet() -> NetParameter:
    """GoogLeNet with batch normalization on Tiny ImageNet (200 classes, whole images of 64x64).
    Source: C. Szegedy et al., "Going Deeper with Convolutions" (2014), as torchvision has it: each convolution
    normalized, 3x3 in place of 5x5; here without the auxiliary classifiers. Nothing else is changed for the smaller
    image.
    Parameters: 5,804,904.
    Published: in none of the five studies; others report 0.474 of the validation images at 64x64, by a recipe that is
    not known here. Reached: 0.580 of the 500 validation images of the first 20 classes after 1,200 iterations of 100
    images; the whole set has not been run yet.
    """
    n = start(batch=100)
    return end(n, "GoogLeNet", classifier(n, inceptions(n, n.data), CLASSES, 0.2))


def inceptions(n: NetSpec, images: Top) -> Top:
    """All up to the last inception: 1024 maps of a 32nd of the images' size."""
    x = pool(n, "pool1", cbr(n, "conv1", images, 64, 7, stride=2, pad=3), 3, 2)
    x = pool(n, "pool2", cbr(n, "conv3", cbr(n, "conv2", x, 64, 1), 192, 3, pad=1), 3, 2)
    for name, widths in GOOGLENET.items():
        if name == "4a":
            x = pool(n, "pool3", x, 3, 2)
        if name == "5a":
            x = pool(n, "pool4", x, 2, 2)
        x = inception(n, f"inception_{name}", x, widths, cbr, five=3)
    return x


def classifier(n: NetSpec, bottom: Top, classes: int, ratio: float) -> Top:
    """The scores fc (N, classes) of the maps' means, with dropout of `ratio`."""
    return full(n, "fc", dropout(n, "fc", global_pool(n, "pool5", bottom), ratio), classes)
