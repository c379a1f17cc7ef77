"""DenseNet-161 (Huang et al., 2016): every layer reads all before it in its block."""

from torchvision_nets.blocks import conv, conv_bn_relu, full, global_pool, norm, pool, relu, start

from netspec import NetSpec
from netspec import layers as L
from netspec.builder import Top
from netspec.schema.netspec_pb2 import NetParameter

GROWTH, FIRST, BLOCKS = 48, 96, (6, 12, 36, 24)


def densenet161(classes: int = 1000, size: int = 224) -> NetParameter:
    """Output fc (N, classes)."""
    n = start(size)
    x = pool(n, "pool0", conv_bn_relu(n, "conv0", n.data, FIRST, 7, stride=2, pad=3), 3, 2, pad=1)
    channels = FIRST
    for block, count in enumerate(BLOCKS, start=1):
        for index in range(1, count + 1):
            x = _dense(n, f"block{block}.{index}", x)
        channels += count * GROWTH
        if block < len(BLOCKS):
            channels //= 2
            x = _norm_relu(n, f"transition{block}/norm", x)
            x = conv(n, f"transition{block}", x, channels, 1, bias_term=False)
            x = pool(n, f"pool{block}", x, 2, 2, pool="AVE")
    full(n, "fc", global_pool(n, "pool5", _norm_relu(n, "norm5", x)), classes)
    return n.to_proto()


def _dense(n: NetSpec, name: str, bottom: Top) -> Top:
    x = conv(n, f"{name}/conv1", _norm_relu(n, f"{name}/norm1", bottom), 4 * GROWTH, 1, bias_term=False)
    x = relu(n, f"{name}/conv1", norm(n, f"{name}/norm2", x))
    n[name] = L.Concat(bottom, conv(n, f"{name}/conv2", x, GROWTH, 3, pad=1, bias_term=False))
    return n[name]


def _norm_relu(n: NetSpec, name: str, bottom: Top) -> Top:
    """Not in place: the bottom goes into the next Concat too."""
    return relu(n, name, norm(n, name, bottom, in_place=False))
