"""DenseNet (Huang et al., 2016), where each layer of a block reads all before it, and its net in the zoo."""

from __future__ import annotations

from zoo_blocks import bn_relu, conv, conv_bn_relu, end, full, global_pool, pool, put
from zoo_data import CLASSES, MKRTCHYAN, start

from netspec import NetSpec
from netspec import layers as L
from netspec.builder import Top
from netspec.schema.netspec_pb2 import NetParameter

_GROWTH, _FIRST, _BLOCKS = 48, 96, (6, 12, 36, 24)


def densenet161() -> NetParameter:
    """DenseNet-161 on Tiny ImageNet (200 classes, whole images of 64x64).
    Source: G. Huang, Z. Liu, L. van der Maaten, K. Weinberger, "Densely Connected Convolutional Networks" (2016),
    growth rate 48; used by Mkrtchyan, "Plain CNNs to DenseNet" (2022). Nothing is changed for the smaller image but the
    200 outputs. As in torchvision, the padded pooling rounds down. Training and test images, and what was open of them,
    are as in zoo/resnet18.prototxt.
    The stage "best" trains on random resized crops instead: --set train_state.stage=best.
    Parameters: 26,913,800.
    Published: 0.51 of the validation images after 8 epochs. Reached: not run yet.
    """
    n = start(256, MKRTCHYAN)
    return end(n, "DenseNet-161", densenet(n, n.data, CLASSES))


def densenet(n: NetSpec, images: Top, classes: int) -> Top:
    """The 161 layers: the scores fc (N, classes)."""
    x = conv_bn_relu(n, "conv0", images, _FIRST, 7, stride=2, pad=3)
    x, channels = pool(n, "pool0", x, 3, 2, pad=1, round_mode="FLOOR"), _FIRST
    for block, count in enumerate(_BLOCKS, start=1):
        for index in range(1, count + 1):
            x = _dense(n, f"block{block}.{index}", x)
        channels += count * _GROWTH
        if block < len(_BLOCKS):
            channels //= 2
            name = f"transition{block}"
            x = conv(n, name, bn_relu(n, f"{name}/norm", x), channels, 1, bias_term=False)
            x = pool(n, f"pool{block}", x, 2, 2, pool="AVE")
    return full(n, "fc", global_pool(n, "pool5", bn_relu(n, "norm5", x)), classes)


def _dense(n: NetSpec, name: str, bottom: Top) -> Top:
    x = conv_bn_relu(n, f"{name}/conv1", bn_relu(n, f"{name}/norm", bottom), 4 * _GROWTH, 1)
    return put(n, name, L.Concat(bottom, conv(n, f"{name}/conv2", x, _GROWTH, 3, pad=1, bias_term=False)))
