"""The inception module (Szegedy et al., 2014), and the small nets of it in the zoo."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from zoo_blocks import conv_bn_relu, dropout, end, full, pool, put
from zoo_data import BOIGNE, CLASSES, start

from netspec import NetSpec
from netspec import layers as L
from netspec.builder import Top
from netspec.schema.netspec_pb2 import NetParameter

GOOGLENET = {
    "3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64), "4b": (160, 112, 224, 24, 64, 64), "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64), "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128), "5b": (384, 192, 384, 48, 128, 128),
}  # fmt: skip
"""Outputs of 1x1, of 3x3 and of 5x5, the latter two each behind its reduction, and of the 1x1 behind the pooling."""

_SMALL, _BASELINE, _REFINED = (32, 48, 64, 8, 16, 16), (64, 96, 128, 16, 32, 32), (80, 120, 160, 20, 40, 40)


def inception_small() -> NetParameter:
    """A small Inception, the baseline, on Tiny ImageNet (200 classes, whole images of 64x64).
    Source: Boigne, Heyse (2017): four of the modules of C. Szegedy et al., "Going Deeper with Convolutions" (2014),
    with an average pooling in each, and batch normalization between each convolution and its ReLU. Images are scaled by
    the mean and the deviation of the train images. Each of these comes once as it is and once changed: flipped, or
    rotated by 6, 8 or 10 degrees either way. That makes 200,000 images; they count 198,179 and do not say why.
    The stage "best", which solvers/inception_small_best.solver names, trains on random resized crops instead.
    Open there: whether a flip is as likely as each angle or as all six (as each), biases of the convolutions (none, as
    the normalization has its own), fillers (msra). The pooling counts the zeros around the map, as Caffe's does.
    Parameters: 472,296.
    Published: 0.40 to 0.45 of the validation images, 0.370 of the test images. Reached: 0.484 of the 500 validation
    images of the first 20 classes after 450 iterations of 100 images, 0.508 with solvers/inception_small_best.solver;
    the whole set has not been run yet.
    """
    return _boigne("Inception-small", _BASELINE)


def inception_refined() -> NetParameter:
    """A small Inception, refined, on Tiny ImageNet (200 classes, whole images of 64x64).
    Source: Boigne, Heyse (2017): zoo/inception_small.prototxt with a wider last module and dropout.
    The stage "best", which solvers/inception_refined_best.solver names, trains on random resized crops instead.
    Open there: where the dropout is and its ratio (before the classifier, 0.5); else as in the baseline.
    Parameters: 568,000.
    Published: 0.40 to 0.45 of the validation images, 0.413 of the test images. Reached: 0.432 of the 500 validation
    images of the first 20 classes after 450 iterations of 100 images, 0.488 with
    solvers/inception_refined_best.solver; the whole set has not been run yet.
    """
    return _boigne("Inception-refined", _REFINED, ratio=0.5)


def _boigne(name: str, last: tuple[int, ...], ratio: float = 0) -> NetParameter:
    n = start(100, BOIGNE)
    module = partial(inception, n, conv=conv_bn_relu, pooling="AVE")
    x = pool(n, "pool1", conv_bn_relu(n, "conv1", n.data, 128, 3), 4, 2)
    x = pool(n, "pool2", module("inception1", x, _SMALL), 2, 2, pad=1)
    x = module("inception3", module("inception2", x, _SMALL), _BASELINE)
    x = pool(n, "pool4", module("inception4", pool(n, "pool3", x, 2, 2), last), 8, 1, pool="AVE")
    return end(n, name, full(n, "fc", dropout(n, "pool4", x, ratio) if ratio else x, CLASSES))


def inception(
    n: NetSpec,
    name: str,
    bottom: Top,
    widths: tuple[int, ...],
    conv: Callable[..., Top],
    five: int = 5,
    pooling: str = "MAX",
    joined: str = "",
) -> Top:
    """Four branches, joined on channels: 1x1; 3x3 and 5x5, each behind a 1x1 that reduces; a pooling with a 1x1 behind.

    `widths` are theirs, as in `GOOGLENET`. `conv` writes a convolution with its ReLU, `five` is the kernel of the third
    branch, and the top is called `name` with `joined` behind.
    """
    one, reduce3, three, reduce5, five_by_five, pooled = widths
    branches = (
        conv(n, f"{name}/1x1", bottom, one, 1),
        conv(n, f"{name}/3x3", conv(n, f"{name}/3x3_reduce", bottom, reduce3, 1), three, 3, pad=1),
        conv(n, f"{name}/5x5", conv(n, f"{name}/5x5_reduce", bottom, reduce5, 1), five_by_five, five, pad=five // 2),
        conv(n, f"{name}/pool_proj", pool(n, f"{name}/pool", bottom, 3, 1, pool=pooling, pad=1), pooled, 1),
    )
    return put(n, name + joined, L.Concat(*branches))
