"""GoogLeNet as Caffe's model zoo has it: with its auxiliary classifiers and without batch normalization."""

from __future__ import annotations

from functools import partial

from zoo_blocks import MULTIPLIERS, conv_relu, dropout, full, named, pool, put, relu
from zoo_data import start_imagenet
from zoo_inception import GOOGLENET, inception

from netspec import NetSpec
from netspec import layers as L
from netspec.builder import Top
from netspec.schema.netspec_pb2 import NetParameter

_CLASSES = 1000
_HEADS = {"4a": "loss1", "4d": "loss2"}
"""The modules that an auxiliary classifier reads."""

_XAVIER, _ABOVE_ZERO = {"type": "xavier"}, {"type": "constant", "value": 0.2}
conv = partial(conv_relu, weight_filler=_XAVIER, bias_filler=_ABOVE_ZERO, param=MULTIPLIERS)
product = partial(full, weight_filler=_XAVIER, param=MULTIPLIERS)


def bvlc_googlenet() -> NetParameter:
    """GoogLeNet on ImageNet (1000 classes, images of 256x256 cropped to 224x224), the classic definition in Caffe.
    Source: C. Szegedy et al., "Going Deeper with Convolutions" (2014), as Caffe's model zoo has it in bvlc_googlenet.
    The layers with weights have the names there, so its bvlc_googlenet.caffemodel loads. The two auxiliary classifiers,
    whose losses count 0.3 each, stand in TRAIN alone.
    Parameters: 13,378,280; without the auxiliary classifiers 6,998,552.
    Published: 0.687 of ImageNet's validation images, top 5 0.889, with the centre crop. Reached: not run yet.
    """
    n = start_imagenet(32, 50, 224, [104, 117, 123])
    x = pool(n, "pool1/3x3_s2", conv(n, "conv1/7x7_s2", n.data, 64, 7, stride=2, pad=3), 3, 2)
    x = conv(n, "conv2/3x3", conv(n, "conv2/3x3_reduce", _lrn(n, "pool1/norm1", x), 64, 1), 192, 3, pad=1)
    x = pool(n, "pool2/3x3_s2", _lrn(n, "conv2/norm2", x), 3, 2)
    for name, widths in GOOGLENET.items():
        if name in ("4a", "5a"):
            x = pool(n, f"pool{int(name[0]) - 1}/3x3_s2", x, 3, 2)
        x = inception(n, f"inception_{name}", x, widths, conv, joined="/output")
        if name in _HEADS:
            _head(n, _HEADS[name], x)
    x = dropout(n, "pool5", pool(n, "pool5/7x7_s1", x, 7, 1, pool="AVE"), 0.4)
    _end(n, product(n, "loss3/classifier", x, _CLASSES))
    return _trained_alone(named(n, "GoogLeNet"))


def _lrn(n: NetSpec, name: str, bottom: Top) -> Top:
    return put(n, name, L.LRN(bottom, local_size=5, alpha=1e-4, beta=0.75))


def _head(n: NetSpec, name: str, bottom: Top) -> None:
    x = conv(n, f"{name}/conv", pool(n, f"{name}/ave_pool", bottom, 5, 3, pool="AVE"), 128, 1)
    x = relu(n, f"{name}/fc", product(n, f"{name}/fc", x, 1024, bias_filler=_ABOVE_ZERO))
    x = product(n, f"{name}/classifier", dropout(n, f"{name}/fc", x, 0.7), _CLASSES)
    n[f"{name}/{name}"] = L.SoftmaxWithLoss(x, n.label, name=f"{name}/loss", loss_weight=0.3)


def _end(n: NetSpec, scores: Top) -> None:
    n["loss3/loss3"] = L.SoftmaxWithLoss(scores, n.label)
    for k in (1, 5):
        n[f"loss3/top-{k}"] = L.Accuracy(scores, n.label, top_k=k, include={"phase": "TEST"})


def _trained_alone(net: NetParameter) -> NetParameter:
    """The net with its auxiliary classifiers in TRAIN alone."""
    for layer in net.layer:
        if layer.name.startswith(tuple(f"{head}/" for head in _HEADS.values())):
            layer.include.add(phase="TRAIN")
    return net
