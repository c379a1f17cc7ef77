"""Inception-v3 (Szegedy et al., 2015) with torchvision's names for its modules."""

from functools import partial

import zoo_blocks
from zoo_blocks import conv_bn_relu, dropout, full, global_pool, put

from netspec import NetSpec
from netspec import layers as L
from netspec.builder import Top

cbr = partial(conv_bn_relu, eps=1e-3)
pool = partial(zoo_blocks.pool, round_mode="FLOOR")


def inception_v3(n: NetSpec, classes: int, ratio: float = 0.5, train: bool = False) -> None:
    """Outputs fc, and with `train` aux/fc, each (N, classes). The images have 75 pixels or more, with `train` 299."""
    x = cbr(n, "conv1a", n.data, 32, 3, stride=2)
    x = cbr(n, "conv2b", cbr(n, "conv2a", x, 32, 3), 64, 3, pad=1)
    x = cbr(n, "conv4a", cbr(n, "conv3b", pool(n, "pool1", x, 3, 2), 80, 1), 192, 3)
    x = pool(n, "pool2", x, 3, 2)
    for name, pooled in (("5b", 32), ("5c", 64), ("5d", 64)):
        x = _a(n, f"mixed{name}", x, pooled)
    x = _b(n, "mixed6a", x)
    for name, width in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
        x = _c(n, f"mixed{name}", x, width)
    if train:
        _aux(n, x, classes)
    x = _d(n, "mixed7a", x)
    for name in ("7b", "7c"):
        x = _e(n, f"mixed{name}", x)
    full(n, "fc", dropout(n, "fc", global_pool(n, "pool3", x), ratio), classes)


def _concat(n: NetSpec, name: str, *branches: Top) -> Top:
    return put(n, name, L.Concat(*branches))


def _pooled(n: NetSpec, name: str, bottom: Top, outputs: int) -> Top:
    """The branch that pools: the mean of 3 x 3, padding counted, and a 1 x 1 convolution."""
    return cbr(n, f"{name}/pool_proj", pool(n, f"{name}/pool", bottom, 3, 1, pool="AVE", pad=1), outputs, 1)


def _row(n: NetSpec, name: str, bottom: Top, outputs: int, kernel: int) -> Top:
    return cbr(n, name, bottom, outputs, (1, kernel), pad=(0, kernel // 2))


def _column(n: NetSpec, name: str, bottom: Top, outputs: int, kernel: int) -> Top:
    return cbr(n, name, bottom, outputs, (kernel, 1), pad=(kernel // 2, 0))


def _a(n: NetSpec, name: str, bottom: Top, pooled: int) -> Top:
    one = cbr(n, f"{name}/1x1", bottom, 64, 1)
    five = cbr(n, f"{name}/5x5_2", cbr(n, f"{name}/5x5_1", bottom, 48, 1), 64, 5, pad=2)
    x = cbr(n, f"{name}/3x3_2", cbr(n, f"{name}/3x3_1", bottom, 64, 1), 96, 3, pad=1)
    return _concat(n, name, one, five, cbr(n, f"{name}/3x3_3", x, 96, 3, pad=1), _pooled(n, name, bottom, pooled))


def _b(n: NetSpec, name: str, bottom: Top) -> Top:
    three = cbr(n, f"{name}/3x3", bottom, 384, 3, stride=2)
    x = cbr(n, f"{name}/double_2", cbr(n, f"{name}/double_1", bottom, 64, 1), 96, 3, pad=1)
    return _concat(
        n, name, three, cbr(n, f"{name}/double_3", x, 96, 3, stride=2), pool(n, f"{name}/pool", bottom, 3, 2)
    )


def _c(n: NetSpec, name: str, bottom: Top, width: int) -> Top:
    one = cbr(n, f"{name}/1x1", bottom, 192, 1)
    x = _row(n, f"{name}/7x7_2", cbr(n, f"{name}/7x7_1", bottom, width, 1), width, 7)
    seven = _column(n, f"{name}/7x7_3", x, 192, 7)
    x = _column(n, f"{name}/double_2", cbr(n, f"{name}/double_1", bottom, width, 1), width, 7)
    x = _column(n, f"{name}/double_4", _row(n, f"{name}/double_3", x, width, 7), width, 7)
    return _concat(n, name, one, seven, _row(n, f"{name}/double_5", x, 192, 7), _pooled(n, name, bottom, 192))


def _d(n: NetSpec, name: str, bottom: Top) -> Top:
    three = cbr(n, f"{name}/3x3_2", cbr(n, f"{name}/3x3_1", bottom, 192, 1), 320, 3, stride=2)
    x = _row(n, f"{name}/7x7_2", cbr(n, f"{name}/7x7_1", bottom, 192, 1), 192, 7)
    seven = cbr(n, f"{name}/7x7_4", _column(n, f"{name}/7x7_3", x, 192, 7), 192, 3, stride=2)
    return _concat(n, name, three, seven, pool(n, f"{name}/pool", bottom, 3, 2))


def _e(n: NetSpec, name: str, bottom: Top) -> Top:
    one = cbr(n, f"{name}/1x1", bottom, 320, 1)
    x = cbr(n, f"{name}/3x3_1", bottom, 384, 1)
    three = (_row(n, f"{name}/3x3_2a", x, 384, 3), _column(n, f"{name}/3x3_2b", x, 384, 3))
    x = cbr(n, f"{name}/double_2", cbr(n, f"{name}/double_1", bottom, 448, 1), 384, 3, pad=1)
    double = (_row(n, f"{name}/double_3a", x, 384, 3), _column(n, f"{name}/double_3b", x, 384, 3))
    return _concat(n, name, one, *three, *double, _pooled(n, name, bottom, 192))


def _aux(n: NetSpec, bottom: Top, classes: int) -> None:
    x = cbr(n, "aux/conv1", pool(n, "aux/pool", bottom, 5, 3, pool="AVE"), 128, 1)
    full(n, "aux/fc", global_pool(n, "aux/global", cbr(n, "aux/conv2", x, 768, 5)), classes)
