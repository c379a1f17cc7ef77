"""ResNet of 18 to 152 layers (He et al., 2015), the stride on the 3 x 3 convolution as torchvision has it."""

from torchvision_nets.blocks import conv_bn, conv_bn_relu, full, global_pool, pool, relu, start

from netspec import NetSpec
from netspec import layers as L
from netspec.builder import Top
from netspec.schema.netspec_pb2 import NetParameter

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


def resnet(depth: int, classes: int = 1000, size: int = 224) -> NetParameter:
    """Output fc (N, classes)."""
    n = start(size)
    x = pool(n, "pool1", conv_bn_relu(n, "conv1", n.data, 64, 7, stride=2, pad=3), 3, 2, pad=1)
    channels = 64
    for stage, count in enumerate(BLOCKS[depth]):
        width = 64 * 2**stage
        outputs = width if depth < 50 else 4 * width
        for index in range(count):
            name, stride = f"res{stage + 2}.{index}", 2 if stage > 0 and index == 0 else 1
            branch = _basic(n, name, x, width, stride) if depth < 50 else _bottleneck(n, name, x, width, stride)
            if stride > 1 or channels != outputs:
                x = conv_bn(n, f"{name}/shortcut", x, outputs, 1, stride=stride)
            n[name] = L.Eltwise(branch, x)
            x, channels = relu(n, name, n[name]), outputs
    full(n, "fc", global_pool(n, "pool5", x), classes)
    return n.to_proto()


def _basic(n: NetSpec, name: str, bottom: Top, width: int, stride: int) -> Top:
    x = conv_bn_relu(n, f"{name}/conv1", bottom, width, 3, stride=stride, pad=1)
    return conv_bn(n, f"{name}/conv2", x, width, 3, pad=1)


def _bottleneck(n: NetSpec, name: str, bottom: Top, width: int, stride: int) -> Top:
    x = conv_bn_relu(n, f"{name}/conv1", bottom, width, 1)
    x = conv_bn_relu(n, f"{name}/conv2", x, width, 3, stride=stride, pad=1)
    return conv_bn(n, f"{name}/conv3", x, 4 * width, 1)
