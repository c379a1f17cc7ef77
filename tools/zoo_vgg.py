"""VGG (Simonyan and Zisserman, 2014) without normalization, and its nets in the zoo."""

from __future__ import annotations

from functools import partial

from zoo_blocks import MULTIPLIERS, conv_relu, dropout, end, full, pool, relu
from zoo_data import CLASSES, IRVINE, start, start_imagenet, without_mean_image

from netspec import NetSpec
from netspec.builder import Top
from netspec.schema.netspec_pb2 import NetParameter

_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
_MEAN = [103.939, 116.779, 123.68]
_GLOROT = {"type": "xavier"}
product = partial(full, weight_filler=_GLOROT, param=MULTIPLIERS)


def vgg16() -> NetParameter:
    """VGG-16 on Tiny ImageNet (200 classes, whole images of 64x64).
    Source: K. Simonyan, A. Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition" (2014),
    configuration D; used by a course project, "From linear to ResNet" (UC Irvine, 2023), which took the convolutions'
    weights from ImageNet and let them loose block by block, as solvers/vgg16.solver does. The classifier is fitted: its
    first product reads the 2x2 maps of pool5, where torchvision makes them 7x7 first, copies and means of the same four
    values. It has other names than the public net's fc6 to fc8, so that weights made for 224x224 load without it; the
    mean is theirs. Training images are flipped, shifted, rotated, and their contrast multiplied by 0.7 to 1.3.
    Open there: by how much images are shifted and rotated (a tenth of a side, 10 degrees); fillers (Glorot's, which the
    paper names); multipliers (Caffe's: bias 2 and no decay).
    Parameters: 40,708,104, of which 14,714,688 are of the convolutions.
    Published: curves only. Reached: not run yet.
    """
    n = start(100, without_mean_image(IRVINE, _MEAN))
    return end(n, "VGG-16", vgg(n, n.data, CLASSES, 0.5, ("fc6_64", "fc7_64", "fc8_64")))


def vgg16_224() -> NetParameter:
    """VGG-16 on ImageNet (1000 classes, images of 256x256 cropped to 224x224), the classic definition.
    Source: K. Simonyan, A. Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition" (2014),
    configuration D. The layers with weights have the names, the mean is that of the authors' own Caffe net, so
    VGG_ILSVRC_16_layers.caffemodel loads.
    Parameters: 138,357,544, of which 14,714,688 are of the convolutions.
    Published: with images of 384 pixels, seen whole, 0.744 of ImageNet's validation images, top 5 0.919 (of weights
    trained at several sizes). Reached: not run yet.
    """
    n = start_imagenet(64, 25, 224, _MEAN)
    return end(n, "VGG-16", vgg(n, n.data, 1000, 0.5), top5=True)


def vgg(
    n: NetSpec, images: Top, classes: int, ratio: float, products: tuple[str, str, str] = ("fc6", "fc7", "fc8")
) -> Top:
    """Configuration D, with dropout of `ratio`: the scores (N, classes) of the last of the `products`. With images of
    224x224 the first one reads 7x7 maps, as in the paper."""
    x = images
    for stage, (outputs, count) in enumerate(_STAGES, start=1):
        for index in range(1, count + 1):
            x = conv_relu(n, f"conv{stage}_{index}", x, outputs, 3, pad=1, weight_filler=_GLOROT, param=MULTIPLIERS)
        x = pool(n, f"pool{stage}", x, 2, 2)
    *hidden, last = products
    for name in hidden:
        x = dropout(n, name, relu(n, name, product(n, name, x, 4096)), ratio)
    return product(n, last, x, classes)
