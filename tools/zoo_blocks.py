"""What the nets of the zoo are made of: layers that often stand together, and the loss behind them."""

from __future__ import annotations

from typing import Any, TypeAlias

from netspec import NetSpec
from netspec import layers as L
from netspec.builder import Top
from netspec.schema.netspec_pb2 import NetParameter

Kernel: TypeAlias = int | tuple[int, int]

_FILLER = {"weight_filler": {"type": "msra"}}
_EPS = 1e-5  # BatchNorm's, unless said
_KEPT = 0.9
"""Of the statistics that BatchNorm gathers for tests, in each iteration: what PyTorch's momentum of 0.1 leaves. Caffe's
own 0.999 describes the weights of a thousand iterations ago."""

MULTIPLIERS = [{"lr_mult": 1, "decay_mult": 1}, {"lr_mult": 2, "decay_mult": 0}]
"""Caffe's usual ones: biases learn twice as fast and do not decay."""


def end(n: NetSpec, name: str, scores: Top, top5: bool = False) -> NetParameter:
    """The net of that name, with its loss and its accuracy, of the first class or of the first five too."""
    n.loss = L.SoftmaxWithLoss(scores, n.label)
    n.accuracy = L.Accuracy(scores, n.label, include={"phase": "TEST"})
    if top5:
        n.accuracy_top5 = L.Accuracy(scores, n.label, top_k=5, include={"phase": "TEST"})
    return named(n, name)


def named(n: NetSpec, name: str) -> NetParameter:
    """The net of that name."""
    net = n.to_proto()
    net.name = name
    return net


def put(n: NetSpec, name: str, top: Any) -> Top:
    """Name a layer's only top."""
    n[name] = top
    assert isinstance(top, Top)
    return top


def conv(n: NetSpec, name: str, bottom: Top, outputs: int, kernel: Kernel, **settings: Any) -> Top:
    """A convolution."""
    return put(n, name, L.Convolution(bottom, num_output=outputs, kernel_size=kernel, **{**_FILLER, **settings}))


def conv_relu(n: NetSpec, name: str, bottom: Top, outputs: int, kernel: Kernel, **settings: Any) -> Top:
    """A convolution with its ReLU."""
    return relu(n, name, conv(n, name, bottom, outputs, kernel, **settings))


def conv_bn(
    n: NetSpec, name: str, bottom: Top, outputs: int, kernel: Kernel, eps: float = _EPS, **settings: Any
) -> Top:
    """A convolution without bias, normalized."""
    return _norm(n, name, conv(n, name, bottom, outputs, kernel, bias_term=False, **settings), eps)


def conv_bn_relu(n: NetSpec, name: str, bottom: Top, outputs: int, kernel: Kernel, **settings: Any) -> Top:
    """A convolution without bias, normalized, with its ReLU."""
    return relu(n, name, conv_bn(n, name, bottom, outputs, kernel, **settings))


def bn_relu(n: NetSpec, name: str, bottom: Top) -> Top:
    """A normalization with its ReLU; not in place, as others read the bottom too."""
    return relu(n, name, _norm(n, name, bottom, in_place=False))


def _norm(n: NetSpec, name: str, bottom: Top, eps: float = _EPS, in_place: bool = True) -> Top:
    """Batch normalization with a learned slope and bias, which in Caffe are two layers."""
    settings = {"moving_average_fraction": _KEPT, **({} if eps == _EPS else {"eps": eps})}
    x = put(n, f"{name}/bn", L.BatchNorm(bottom, in_place=in_place, **settings))
    return put(n, f"{name}/scale", L.Scale(x, bias_term=True, in_place=True))


def relu(n: NetSpec, name: str, bottom: Top) -> Top:
    """ReLU in place."""
    return put(n, f"{name}/relu", L.ReLU(bottom, in_place=True))


def pool(n: NetSpec, name: str, bottom: Top, kernel: int, stride: int, pool: str = "MAX", **settings: Any) -> Top:
    """Pooling, rounded up unless told."""
    return put(n, name, L.Pooling(bottom, pool=pool, kernel_size=kernel, stride=stride, **settings))


def global_pool(n: NetSpec, name: str, bottom: Top) -> Top:
    """The mean of each channel."""
    return put(n, name, L.Pooling(bottom, pool="AVE", global_pooling=True))


def dropout(n: NetSpec, name: str, bottom: Top, ratio: float) -> Top:
    """Dropout in place."""
    return put(n, f"{name}/drop", L.Dropout(bottom, dropout_ratio=ratio, in_place=True))


def full(n: NetSpec, name: str, bottom: Top, outputs: int, **settings: Any) -> Top:
    """A fully connected layer."""
    return put(n, name, L.InnerProduct(bottom, num_output=outputs, **{**_FILLER, **settings}))
