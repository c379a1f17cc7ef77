"""VGG-16, configuration D without normalisation (Simonyan and Zisserman, 2014)."""

from torchvision_nets.blocks import conv_relu, dropout, full, pool, relu, start

from netspec.schema.netspec_pb2 import NetParameter


def vgg16(classes: int = 1000, size: int = 224, ratio: float = 0.5) -> NetParameter:
    """Output fc8 (N, classes). At `size` 224 to 255 the last pooling gives the 7 x 7 that torchvision's fc6 wants."""
    n = start(size)
    x = n.data
    for stage, (outputs, count) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), start=1):
        for index in range(1, count + 1):
            x = conv_relu(n, f"conv{stage}_{index}", x, outputs, 3, pad=1)
        x = pool(n, f"pool{stage}", x, 2, 2)
    for name in ("fc6", "fc7"):
        x = relu(n, name, full(n, name, x, 4096))
        x = dropout(n, f"{name}/drop", x, ratio)
    full(n, "fc8", x, classes)
    return n.to_proto()
