"""SqueezeNet 1.0 and 1.1 (Iandola et al., 2016): fire modules, which squeeze to 1 x 1 and expand to 1 x 1 and 3 x 3."""

from zoo_blocks import conv_relu, dropout, global_pool, pool, put

from netspec import NetSpec
from netspec import layers as L
from netspec.builder import Top

WIDTHS = (16, 16, 32, 32, 48, 48, 64, 64)
FIRST = {"1.0": (96, 7), "1.1": (64, 3)}
POOLED = {"1.0": (4, 8), "1.1": (3, 5)}
"""The fire modules after which a pooling comes."""


def squeezenet(n: NetSpec, version: str, classes: int, ratio: float = 0.5) -> None:
    """Output pool10 (N, classes, 1, 1)."""
    x = pool(n, "pool1", conv_relu(n, "conv1", n.data, *FIRST[version], stride=2), 3, 2)
    for index, width in enumerate(WIDTHS, start=2):
        x = _fire(n, f"fire{index}", x, width)
        if index in POOLED[version]:
            x = pool(n, f"pool{index}", x, 3, 2)
    x = conv_relu(n, "conv10", dropout(n, "fire9", x, ratio), classes, 1)
    global_pool(n, "pool10", x)


def _fire(n: NetSpec, name: str, bottom: Top, width: int) -> Top:
    x = conv_relu(n, f"{name}/squeeze", bottom, width, 1)
    one = conv_relu(n, f"{name}/expand1x1", x, 4 * width, 1)
    three = conv_relu(n, f"{name}/expand3x3", x, 4 * width, 3, pad=1)
    return put(n, name, L.Concat(one, three))
