"""GoogLeNet (after Szegedy et al., 2014) with batch normalization, as torchvision has it, and its net in the zoo."""

from __future__ import annotations

from functools import partial

from zoo_blocks import CLASSES, conv_bn_relu, dropout, end, full, global_pool, pool, put, start

from netspec import NetSpec
from netspec import layers as L
from netspec.builder import Top
from netspec.schema.netspec_pb2 import NetParameter

_INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64), "4b": (160, 112, 224, 24, 64, 64), "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64), "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128), "5b": (384, 192, 384, 48, 128, 128),
}  # fmt: skip
"""Outputs of 1x1, of 3x3 and of 5x5, the latter two each behind its reduction, and of the 1x1 behind the pooling."""

cbr = partial(conv_bn_relu, eps=1e-3)


def googlenet() -> NetParameter:
    """GoogLeNet with batch normalization on Tiny ImageNet (200 classes, whole images of 64x64).
    Source: C. Szegedy et al., "Going Deeper with Convolutions" (2014), as torchvision has it: each convolution
    normalized, 3x3 in place of 5x5; here without the auxiliary classifiers. Nothing else is changed for the smaller
    image.
    Parameters: 5,804,904.
    Published: 0.474 of the validation images. Reached: not run yet.
    """
    n = start(batch=100)
    return end(n, "GoogLeNet", classifier(n, inceptions(n, n.data), CLASSES, 0.2))


def inceptions(n: NetSpec, images: Top) -> Top:
    """All up to the last inception: 1024 maps of a 32nd of the images' size."""
    x = pool(n, "pool1", cbr(n, "conv1", images, 64, 7, stride=2, pad=3), 3, 2)
    x = pool(n, "pool2", cbr(n, "conv3", cbr(n, "conv2", x, 64, 1), 192, 3, pad=1), 3, 2)
    for name, widths in _INCEPTIONS.items():
        if name == "4a":
            x = pool(n, "pool3", x, 3, 2)
        if name == "5a":
            x = pool(n, "pool4", x, 2, 2)
        x = _inception(n, f"inception_{name}", x, widths)
    return x


def classifier(n: NetSpec, bottom: Top, classes: int, ratio: float) -> Top:
    """The scores fc (N, classes) of the maps' means, with dropout of `ratio`."""
    return full(n, "fc", dropout(n, "fc", global_pool(n, "pool5", bottom), ratio), classes)


def _inception(n: NetSpec, name: str, bottom: Top, widths: tuple[int, ...]) -> Top:
    one, reduce3, three, reduce5, five, pooled = widths
    branches = (
        cbr(n, f"{name}/1x1", bottom, one, 1),
        cbr(n, f"{name}/3x3", cbr(n, f"{name}/3x3_reduce", bottom, reduce3, 1), three, 3, pad=1),
        cbr(n, f"{name}/5x5", cbr(n, f"{name}/5x5_reduce", bottom, reduce5, 1), five, 3, pad=1),
        cbr(n, f"{name}/pool_proj", pool(n, f"{name}/pool", bottom, 3, 1, pad=1), pooled, 1),
    )
    return put(n, name, L.Concat(*branches))
