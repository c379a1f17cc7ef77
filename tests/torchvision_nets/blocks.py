"""What the networks are made of: convolutions with their normalisation, torchvision's pooling, the classifier."""

from typing import Any

from netspec import NetSpec
from netspec import layers as L
from netspec.builder import Top

Kernel = int | tuple[int, int]

FILLER = {"weight_filler": {"type": "msra"}}


def start(size: int, batch: int = 2) -> NetSpec:
    """A spec with its images (N, 3, size, size)."""
    n = NetSpec()
    n.data = L.Input(shape={"dim": [batch, 3, size, size]})
    return n


def conv(n: NetSpec, name: str, bottom: Top, outputs: int, kernel: Kernel, **settings: Any) -> Top:
    """A convolution."""
    n[name] = L.Convolution(bottom, num_output=outputs, kernel_size=kernel, **FILLER, **settings)
    return n[name]


def conv_relu(n: NetSpec, name: str, bottom: Top, outputs: int, kernel: Kernel, **settings: Any) -> Top:
    """A convolution with its ReLU."""
    return relu(n, name, conv(n, name, bottom, outputs, kernel, **settings))


def conv_bn(
    n: NetSpec, name: str, bottom: Top, outputs: int, kernel: Kernel, eps: float = 1e-5, **settings: Any
) -> Top:
    """A convolution without bias, normalised."""
    return norm(n, name, conv(n, name, bottom, outputs, kernel, bias_term=False, **settings), eps)


def conv_bn_relu(n: NetSpec, name: str, bottom: Top, outputs: int, kernel: Kernel, **settings: Any) -> Top:
    """A convolution without bias, normalised, with its ReLU."""
    return relu(n, name, conv_bn(n, name, bottom, outputs, kernel, **settings))


def norm(n: NetSpec, name: str, bottom: Top, eps: float = 1e-5, in_place: bool = True) -> Top:
    """PyTorch's BatchNorm2d: BatchNorm and Scale."""
    n[f"{name}/bn"] = L.BatchNorm(bottom, eps=eps, in_place=in_place)
    n[f"{name}/scale"] = L.Scale(n[f"{name}/bn"], filler={"value": 1}, bias_term=True, in_place=True)
    return n[f"{name}/scale"]


def relu(n: NetSpec, name: str, bottom: Top) -> Top:
    """ReLU in place."""
    n[f"{name}/relu"] = L.ReLU(bottom, in_place=True)
    return n[f"{name}/relu"]


def pool(n: NetSpec, name: str, bottom: Top, kernel: int, stride: int, ceil: bool = False, **settings: Any) -> Top:
    """Pooling, MAX unless told, rounded down as PyTorch does unless told."""
    mode = "CEIL" if ceil else "FLOOR"
    n[name] = L.Pooling(bottom, kernel_size=kernel, stride=stride, round_mode=mode, **settings)
    return n[name]


def global_pool(n: NetSpec, name: str, bottom: Top) -> Top:
    """The mean of every channel: AdaptiveAvgPool2d(1)."""
    n[name] = L.Pooling(bottom, pool="AVE", global_pooling=True)
    return n[name]


def dropout(n: NetSpec, name: str, bottom: Top, ratio: float) -> Top:
    """Dropout in place."""
    n[name] = L.Dropout(bottom, dropout_ratio=ratio, in_place=True)
    return n[name]


def full(n: NetSpec, name: str, bottom: Top, outputs: int) -> Top:
    """A fully connected layer."""
    n[name] = L.InnerProduct(bottom, num_output=outputs, **FILLER)
    return n[name]
