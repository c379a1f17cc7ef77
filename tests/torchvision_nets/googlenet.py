"""GoogLeNet with BatchNorm, as torchvision has it (after Szegedy et al., 2014): its 5 x 5 branches are 3 x 3."""

from functools import partial

from torchvision_nets.blocks import conv_bn_relu, dropout, full, global_pool, pool, relu, start

from netspec import NetSpec
from netspec import layers as L
from netspec.builder import Top
from netspec.schema.netspec_pb2 import NetParameter

cbr = partial(conv_bn_relu, eps=1e-3)

INCEPTIONS = {
    "3a": (64, 96, 128, 16, 32, 32), "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64), "4b": (160, 112, 224, 24, 64, 64), "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64), "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128), "5b": (384, 192, 384, 48, 128, 128),
}  # fmt: skip


def googlenet(
    classes: int = 1000, size: int = 128, ratio: float = 0.2, aux_ratio: float = 0.7, train: bool = False
) -> NetParameter:
    """Outputs fc, and with `train` aux1/fc and aux2/fc, each (N, classes). With `train`, `size` is a multiple of 64:
    only then are the 4 x 4 bins of torchvision's adaptive pooling windows of one size."""
    n = start(size)
    x = pool(n, "pool1", cbr(n, "conv1", n.data, 64, 7, stride=2, pad=3), 3, 2, ceil=True)
    x = cbr(n, "conv3", cbr(n, "conv2", x, 64, 1), 192, 3, pad=1)
    x = pool(n, "pool2", x, 3, 2, ceil=True)
    made = {}
    for name, widths in INCEPTIONS.items():
        if name == "4a":
            x = pool(n, "pool3", x, 3, 2, ceil=True)
        if name == "5a":
            x = pool(n, "pool4", x, 2, 2, ceil=True)
        made[name] = x = _inception(n, f"inception_{name}", x, widths)
    if train:
        for name, bottom in (("aux1", made["4a"]), ("aux2", made["4d"])):
            _aux(n, name, bottom, classes, size // 64, aux_ratio)
    full(n, "fc", dropout(n, "drop", global_pool(n, "pool5", x), ratio), classes)
    return n.to_proto()


def _inception(n: NetSpec, name: str, bottom: Top, widths: tuple[int, ...]) -> Top:
    one, reduce3, three, reduce5, five, pooled = widths
    branches = [
        cbr(n, f"{name}/1x1", bottom, one, 1),
        cbr(n, f"{name}/3x3", cbr(n, f"{name}/3x3_reduce", bottom, reduce3, 1), three, 3, pad=1),
        cbr(n, f"{name}/5x5", cbr(n, f"{name}/5x5_reduce", bottom, reduce5, 1), five, 3, pad=1),
        cbr(n, f"{name}/pool_proj", pool(n, f"{name}/pool", bottom, 3, 1, ceil=True, pad=1), pooled, 1),
    ]
    n[name] = L.Concat(*branches)
    return n[name]


def _aux(n: NetSpec, name: str, bottom: Top, classes: int, kernel: int, ratio: float) -> None:
    x = cbr(n, f"{name}/conv", pool(n, f"{name}/pool", bottom, kernel, kernel, pool="AVE"), 128, 1)
    x = relu(n, f"{name}/fc1", full(n, f"{name}/fc1", x, 1024))
    full(n, f"{name}/fc", dropout(n, f"{name}/drop", x, ratio), classes)
