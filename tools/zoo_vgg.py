"""VGG (Simonyan and Zisserman, 2014) without normalization, and its net in the zoo."""

from __future__ import annotations

from zoo_blocks import CLASSES, conv_relu, dropout, end, full, pool, relu, start

from netspec import NetSpec
from netspec.builder import Top
from netspec.schema.netspec_pb2 import NetParameter

_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
_BIASED = {"param": [{"lr_mult": 1, "decay_mult": 1}, {"lr_mult": 2, "decay_mult": 0}]}


def vgg16() -> NetParameter:
    """VGG-16 on Tiny ImageNet (200 classes, whole images of 64x64).
    Source: K. Simonyan, A. Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition" (2014),
    configuration D; used by a course project, "From linear to ResNet" (UC Irvine, 2023). The classifier is fitted: fc6
    reads the 2x2 maps of pool5, where torchvision makes them 7x7 first, copies and means of the same four values.
    Open there, so in Caffe's way: fillers (msra), multipliers (bias 2 and no decay).
    Parameters: 40,708,104, of which 14,714,688 are of the convolutions.
    Published: curves only. Reached: not run yet.
    """
    n = start(batch=100)
    return end(n, "VGG-16", vgg(n, n.data, CLASSES, 0.5))


def vgg(n: NetSpec, images: Top, classes: int, ratio: float) -> Top:
    """Configuration D, with dropout of `ratio`: the scores fc8 (N, classes). With images of 224x224 fc6 reads 7x7 maps,
    as in the paper."""
    x = images
    for stage, (outputs, count) in enumerate(_STAGES, start=1):
        for index in range(1, count + 1):
            x = conv_relu(n, f"conv{stage}_{index}", x, outputs, 3, pad=1, **_BIASED)
        x = pool(n, f"pool{stage}", x, 2, 2)
    for name in ("fc6", "fc7"):
        x = dropout(n, name, relu(n, name, full(n, name, x, 4096, **_BIASED)), ratio)
    return full(n, "fc8", x, classes, **_BIASED)
