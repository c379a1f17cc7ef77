"""SqueezeNet 1.0 and 1.1 (Iandola et al., 2016): fire modules, which squeeze to 1x1 and expand to 1x1 and 3x3."""

from __future__ import annotations

from functools import partial

import zoo_blocks
from zoo_blocks import dropout, end, global_pool, pool, put
from zoo_data import start_imagenet

from netspec import NetSpec
from netspec import layers as L
from netspec.builder import Top
from netspec.schema.netspec_pb2 import NetParameter

_WIDTHS = (16, 16, 32, 32, 48, 48, 64, 64)
_FIRST = {"1.0": (96, 7), "1.1": (64, 3)}
_POOLED = {"1.0": (4, 8), "1.1": (3, 5)}
"""The fire modules after which a pooling comes."""

conv_relu = partial(zoo_blocks.conv_relu, weight_filler={"type": "xavier"})


def squeezenet() -> NetParameter:
    """SqueezeNet 1.1 on ImageNet (1000 classes, images of 256x256 cropped to 227x227), the classic definition.
    Source: F. Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size"
    (2016), version 1.1 of the authors' Caffe net, whose names it has, so squeezenet_v1.1.caffemodel loads.
    Parameters: 1,235,496.
    Published: 0.575 of ImageNet's validation images, top 5 0.803 (of version 1.0). Reached: not run yet.
    """
    n = start_imagenet(32, 25, 227, [104, 117, 123])
    return end(n, "SqueezeNet", squeeze_and_expand(n, n.data, "1.1", 1000, 0.5), top5=True)


def squeeze_and_expand(n: NetSpec, images: Top, version: str, classes: int, ratio: float) -> Top:
    """The net, with dropout of `ratio`: the scores pool10 (N, classes, 1, 1)."""
    x = pool(n, "pool1", conv_relu(n, "conv1", images, *_FIRST[version], stride=2), 3, 2)
    for index, width in enumerate(_WIDTHS, start=2):
        x = _fire(n, f"fire{index}", x, width)
        if index in _POOLED[version]:
            x = pool(n, f"pool{index}", x, 3, 2)
    last = {"type": "gaussian", "std": 0.01}
    x = conv_relu(n, "conv10", dropout(n, "fire9", x, ratio), classes, 1, weight_filler=last)
    return global_pool(n, "pool10", x)


def _fire(n: NetSpec, name: str, bottom: Top, width: int) -> Top:
    x = conv_relu(n, f"{name}/squeeze1x1", bottom, width, 1)
    one = conv_relu(n, f"{name}/expand1x1", x, 4 * width, 1)
    three = conv_relu(n, f"{name}/expand3x3", x, 4 * width, 3, pad=1)
    return put(n, f"{name}/concat", L.Concat(one, three))
