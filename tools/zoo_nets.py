"""The long nets of the zoo, written with netspec's builder. The docstring of each is the comment on top of its file."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from netspec import NetSpec
from netspec import layers as L
from netspec.builder import Top
from netspec.schema.netspec_pb2 import NetParameter

CLASSES = 200
SET = "data/tiny-imagenet"

_EPS = 1e-5  # BatchNorm's, unless said
_FILLER = {"weight_filler": {"type": "msra"}}
_BIASED = {"param": [{"lr_mult": 1, "decay_mult": 1}, {"lr_mult": 2, "decay_mult": 0}]}


def resnet18() -> NetParameter:
    """ResNet-18 on Tiny ImageNet (200 classes, whole images of 64x64).
    Source: K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition" (2015), with
    shortcuts of 1x1 where the size changes; used by Mkrtchyan, "Plain CNNs to DenseNet" (2022). Nothing is changed for
    the smaller image but the 200 outputs. As in torchvision, the padded pooling rounds down.
    Parameters: 11,279,112.
    Published: 0.45 of the validation images at a rate of 1e-3, 0.345 at 1e-4. Reached: not run yet.
    """
    n = _start(batch=256)
    x = _conv_bn_relu(n, "conv1", n.data, 64, 7, stride=2, pad=3)
    return _resnet18(n, _pool(n, "pool1", x, 3, 2, pad=1, round_mode="FLOOR"))


def resnet18_3x3() -> NetParameter:
    """ResNet-18 with a 3x3 stem on Tiny ImageNet (200 classes, whole images of 64x64).
    Source: K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition" (2015), with
    shortcuts of 1x1 where the size changes; the first convolution is 3x3 with stride 1 and no pooling follows, as is
    usual for small images: the first maps have the images' size.
    Parameters: 11,271,432.
    Published: 0.596 of the validation images after 50 epochs, 0.617 after 400. Reached: not run yet.
    """
    n = _start(batch=256)
    return _resnet18(n, _conv_bn_relu(n, "conv1", n.data, 64, 3, pad=1))


def _resnet18(n: NetSpec, x: Top) -> NetParameter:
    """What comes behind the stem."""
    for stage in range(4):
        for index in range(2):
            x = _residual(n, f"res{stage + 2}.{index}", x, 64 * 2**stage, 2 if stage and not index else 1)
    return _end(n, "ResNet-18", _full(n, "fc", _global_pool(n, x), CLASSES))


def _residual(n: NetSpec, name: str, bottom: Top, width: int, stride: int) -> Top:
    """Two 3x3 convolutions and their bottom, which goes through one of 1x1 where the size changes."""
    x = _conv_bn_relu(n, f"{name}/conv1", bottom, width, 3, stride=stride, pad=1)
    x = _conv_bn(n, f"{name}/conv2", x, width, 3, pad=1)
    shortcut = _conv_bn(n, f"{name}/shortcut", bottom, width, 1, stride=stride) if stride > 1 else bottom
    return _relu(n, name, _put(n, name, L.Eltwise(x, shortcut)))


def vgg16() -> NetParameter:
    """VGG-16 on Tiny ImageNet (200 classes, whole images of 64x64).
    Source: K. Simonyan, A. Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition" (2014),
    configuration D; used by a course project, "From linear to ResNet" (UC Irvine, 2023). The classifier is fitted: fc6
    reads the 2x2 maps of pool5, where torchvision makes them 7x7 first, copies and means of the same four values.
    Open there, so in Caffe's way: fillers (msra), multipliers (bias 2 and no decay).
    Parameters: 40,708,104, of which 14,714,688 are of the convolutions.
    Published: curves only. Reached: not run yet.
    """
    n = _start(batch=100)
    x = n.data
    for stage, (outputs, count) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), start=1):
        for index in range(1, count + 1):
            x = _relu(n, f"conv{stage}_{index}", _conv(n, f"conv{stage}_{index}", x, outputs, 3, pad=1, **_BIASED))
        x = _pool(n, f"pool{stage}", x, 2, 2)
    for name in ("fc6", "fc7"):
        x = _dropout(n, name, _relu(n, name, _full(n, name, x, 4096, **_BIASED)), 0.5)
    return _end(n, "VGG-16", _full(n, "fc8", x, CLASSES, **_BIASED))


_INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64), "4b": (160, 112, 224, 24, 64, 64), "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64), "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128), "5b": (384, 192, 384, 48, 128, 128),
}  # fmt: skip
"""Outputs of 1x1, of 3x3 and of 5x5, the latter two each behind its reduction, and of the 1x1 behind the pooling."""


def googlenet() -> NetParameter:
    """GoogLeNet with batch normalization on Tiny ImageNet (200 classes, whole images of 64x64).
    Source: C. Szegedy et al., "Going Deeper with Convolutions" (2014), as torchvision has it: each convolution
    normalized, 3x3 in place of 5x5; here without the auxiliary classifiers. Nothing else is changed for the smaller
    image.
    Parameters: 5,804,904.
    Published: 0.474 of the validation images. Reached: not run yet.
    """
    n = _start(batch=100)
    cbr = partial(_conv_bn_relu, eps=1e-3)
    x = _pool(n, "pool1", cbr(n, "conv1", n.data, 64, 7, stride=2, pad=3), 3, 2)
    x = _pool(n, "pool2", cbr(n, "conv3", cbr(n, "conv2", x, 64, 1), 192, 3, pad=1), 3, 2)
    for name, widths in _INCEPTIONS.items():
        if name == "4a":
            x = _pool(n, "pool3", x, 3, 2)
        if name == "5a":
            x = _pool(n, "pool4", x, 2, 2)
        x = _inception(n, f"inception_{name}", x, widths, cbr)
    return _end(n, "GoogLeNet", _full(n, "fc", _dropout(n, "fc", _global_pool(n, x), 0.2), CLASSES))


def _inception(n: NetSpec, name: str, bottom: Top, widths: tuple[int, ...], cbr: Callable[..., Top]) -> Top:
    one, reduce3, three, reduce5, five, pooled = widths
    branches = (
        cbr(n, f"{name}/1x1", bottom, one, 1),
        cbr(n, f"{name}/3x3", cbr(n, f"{name}/3x3_reduce", bottom, reduce3, 1), three, 3, pad=1),
        cbr(n, f"{name}/5x5", cbr(n, f"{name}/5x5_reduce", bottom, reduce5, 1), five, 3, pad=1),
        cbr(n, f"{name}/pool_proj", _pool(n, f"{name}/pool", bottom, 3, 1, pad=1), pooled, 1),
    )
    return _put(n, name, L.Concat(*branches))


def densenet161() -> NetParameter:
    """DenseNet-161 on Tiny ImageNet (200 classes, whole images of 64x64).
    Source: G. Huang, Z. Liu, L. van der Maaten, K. Weinberger, "Densely Connected Convolutional Networks" (2016),
    growth rate 48; used by Mkrtchyan, "Plain CNNs to DenseNet" (2022). Nothing is changed for the smaller image but the
    200 outputs. As in torchvision, the padded pooling rounds down.
    Parameters: 26,913,800.
    Published: 0.51 of the validation images after 8 epochs. Reached: not run yet.
    """
    n = _start(batch=256)
    x = _conv_bn_relu(n, "conv0", n.data, 96, 7, stride=2, pad=3)
    x, channels = _pool(n, "pool0", x, 3, 2, pad=1, round_mode="FLOOR"), 96
    for block, count in enumerate((6, 12, 36, 24), start=1):
        for index in range(1, count + 1):
            x = _dense(n, f"block{block}.{index}", x, 48)
        channels += count * 48
        if block < 4:
            channels //= 2
            name = f"transition{block}"
            x = _conv(n, name, _bn_relu(n, f"{name}/norm", x), channels, 1, bias_term=False)
            x = _pool(n, f"pool{block}", x, 2, 2, pool="AVE")
    return _end(n, "DenseNet-161", _full(n, "fc", _global_pool(n, _bn_relu(n, "norm5", x)), CLASSES))


def _dense(n: NetSpec, name: str, bottom: Top, growth: int) -> Top:
    x = _conv_bn_relu(n, f"{name}/conv1", _bn_relu(n, f"{name}/norm", bottom), 4 * growth, 1)
    return _put(n, name, L.Concat(bottom, _conv(n, f"{name}/conv2", x, growth, 3, pad=1, bias_term=False)))


# --- what they are made of --------------------------------------------------------------------------------------------


def _start(batch: int) -> NetSpec:
    """A spec with its data: whole images, mirrored in training."""
    n = NetSpec()
    mean = {"mean_file": f"{SET}/mean.binaryproto"}
    train = {"source": f"{SET}/train_lmdb", "batch_size": batch, "backend": "LMDB", "shuffle": True}
    test = {"source": f"{SET}/val_lmdb", "batch_size": 100, "backend": "LMDB"}
    n.data, n.label = L.Data(
        ntop=2, include={"phase": "TRAIN"}, transform_param={"mirror": True, **mean}, data_param=train
    )
    n.test_data = L.Data(
        name="data", top=["data", "label"], ntop=0,
        include={"phase": "TEST"}, transform_param=mean, data_param=test,
    )  # fmt: skip
    return n


def _end(n: NetSpec, name: str, scores: Top) -> NetParameter:
    """The net of that name, with its loss and its accuracy."""
    n.loss = L.SoftmaxWithLoss(scores, n.label)
    n.accuracy = L.Accuracy(scores, n.label, include={"phase": "TEST"})
    net = n.to_proto()
    net.name = name
    return net


def _put(n: NetSpec, name: str, top: Any) -> Top:
    """Name a layer's only top."""
    n[name] = top
    assert isinstance(top, Top)
    return top


def _conv(n: NetSpec, name: str, bottom: Top, outputs: int, kernel: int, **settings: Any) -> Top:
    return _put(n, name, L.Convolution(bottom, num_output=outputs, kernel_size=kernel, **_FILLER, **settings))


def _conv_bn(n: NetSpec, name: str, bottom: Top, outputs: int, kernel: int, eps: float = _EPS, **settings: Any) -> Top:
    return _norm(n, name, _conv(n, name, bottom, outputs, kernel, bias_term=False, **settings), eps)


def _conv_bn_relu(n: NetSpec, name: str, bottom: Top, outputs: int, kernel: int, **settings: Any) -> Top:
    return _relu(n, name, _conv_bn(n, name, bottom, outputs, kernel, **settings))


def _bn_relu(n: NetSpec, name: str, bottom: Top) -> Top:
    """Not in place, as others read the bottom too."""
    return _relu(n, name, _norm(n, name, bottom, in_place=False))


def _norm(n: NetSpec, name: str, bottom: Top, eps: float = _EPS, in_place: bool = True) -> Top:
    """Batch normalization with a learned slope and bias, which in Caffe are two layers."""
    settings = {} if eps == _EPS else {"eps": eps}
    x = _put(n, f"{name}/bn", L.BatchNorm(bottom, in_place=in_place, **settings))
    return _put(n, f"{name}/scale", L.Scale(x, bias_term=True, in_place=True))


def _relu(n: NetSpec, name: str, bottom: Top) -> Top:
    return _put(n, f"{name}/relu", L.ReLU(bottom, in_place=True))


def _pool(n: NetSpec, name: str, bottom: Top, kernel: int, stride: int, pool: str = "MAX", **settings: Any) -> Top:
    return _put(n, name, L.Pooling(bottom, pool=pool, kernel_size=kernel, stride=stride, **settings))


def _global_pool(n: NetSpec, bottom: Top) -> Top:
    return _put(n, "pool5", L.Pooling(bottom, pool="AVE", global_pooling=True))


def _dropout(n: NetSpec, name: str, bottom: Top, ratio: float) -> Top:
    return _put(n, f"{name}/drop", L.Dropout(bottom, dropout_ratio=ratio, in_place=True))


def _full(n: NetSpec, name: str, bottom: Top, outputs: int, **settings: Any) -> Top:
    return _put(n, name, L.InnerProduct(bottom, num_output=outputs, **_FILLER, **settings))
