"""AlexNet as torchvision has it: one tower, no LRN (Krizhevsky, 2014)."""

from torchvision_nets.blocks import conv_relu, dropout, full, pool, relu, start

from netspec.schema.netspec_pb2 import NetParameter


def alexnet(classes: int = 1000, size: int = 224, ratio: float = 0.5) -> NetParameter:
    """Output fc8 (N, classes). At `size` 223 to 254 the last pooling gives the 6 x 6 that fc6 wants."""
    n = start(size)
    x = pool(n, "pool1", conv_relu(n, "conv1", n.data, 64, 11, stride=4, pad=2), 3, 2)
    x = pool(n, "pool2", conv_relu(n, "conv2", x, 192, 5, pad=2), 3, 2)
    for name, outputs in (("conv3", 384), ("conv4", 256), ("conv5", 256)):
        x = conv_relu(n, name, x, outputs, 3, pad=1)
    x = pool(n, "pool5", x, 3, 2)
    for name in ("fc6", "fc7"):
        x = relu(n, name, full(n, name, dropout(n, f"{name}/drop", x, ratio), 4096))
    full(n, "fc8", x, classes)
    return n.to_proto()
