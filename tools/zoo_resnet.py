"""ResNet (He et al., 2015), the stride on the 3x3 convolution as torchvision has it, and its nets in the zoo."""

from __future__ import annotations

from zoo_blocks import bn_relu, conv, conv_bn, conv_bn_relu, end, full, global_pool, pool, put, relu
from zoo_data import CLASSES, IRVINE, MKRTCHYAN, Transforms, start

from netspec import NetSpec
from netspec import layers as L
from netspec.builder import Top
from netspec.schema.netspec_pb2 import NetParameter

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 152: (3, 8, 36, 3)}


def resnet18() -> NetParameter:
    """ResNet-18 on Tiny ImageNet (200 classes, whole images of 64x64).
    Source: K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition" (2015), with
    shortcuts of 1x1 where the size changes; used by Mkrtchyan, "Plain CNNs to DenseNet" (2022). Nothing is changed for
    the smaller image but the 200 outputs. As in torchvision, the padded pooling rounds down.
    Training images come twice, once through each of the study's two sets: a flip and the middle 56 by 56 pixels,
    resized to 64; a rotation by up to 10 degrees, flips both ways and a blur. Tests see the first, without the flip.
    The stage "best", which solvers/resnet18_best.solver names, trains on random resized crops instead.
    Open there: which sets this net had (both), the mean and deviation to normalise by (those of ImageNet, as PyTorch's
    own nets have them), the transform of tests.
    Parameters: 11,279,112.
    Published: 0.45 of the validation images at a rate of 1e-3, 0.345 at 1e-4. Reached: 0.510 of the 500 validation
    images of the first 20 classes after 1,300 iterations of 100 images, 0.622 with solvers/resnet18_best.solver; the
    whole set has not been run yet.
    """
    return _torchvision(18, MKRTCHYAN)


def resnet18_3x3() -> NetParameter:
    """ResNet-18 with a 3x3 stem on Tiny ImageNet (200 classes, whole images of 64x64).
    Source: K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition" (2015), with
    shortcuts of 1x1 where the size changes; the first convolution is 3x3 with stride 1 and no pooling follows, as is
    usual for small images: the first maps have the images' size.
    Parameters: 11,271,432.
    Published: in none of the five studies; others report 0.596 of the validation images after 50 epochs (SGD at 0.2,
    batches of 256, decay 1e-4, a cosine, random resized crops and flips), 0.617 after 400. Reached: not run yet.
    """
    n = start(256)
    return end(n, "ResNet-18", resnet(n, conv_bn_relu(n, "conv1", n.data, 64, 3, pad=1), 18, CLASSES))


def resnet34() -> NetParameter:
    """ResNet-34 on Tiny ImageNet (200 classes, whole images of 64x64).
    Source: K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition" (2015), used by Mkrtchyan,
    "Plain CNNs to DenseNet" (2022). All else is as in zoo/resnet18.prototxt.
    The stage "best", which solvers/resnet34_best.solver names, trains on random resized crops instead.
    Parameters: 21,387,272.
    Published: 0.465 of the validation images. Reached: 0.310 of the 500 validation images of the first 20 classes after
    400 iterations of 100 images, 0.430 with solvers/resnet34_best.solver; the whole set has not been run yet.
    """
    return _torchvision(34, MKRTCHYAN)


def resnet34_preact() -> NetParameter:
    """ResNet-34 with full pre-activation on Tiny ImageNet (200 classes, whole images of 64x64).
    Source: K. He, X. Zhang, S. Ren, J. Sun, "Identity Mappings in Deep Residual Networks" (2016): normalize, rectify,
    then convolve; used by Mkrtchyan, "Plain CNNs to DenseNet" (2022).
    Open there, so as in the paper: the first block reads what the first convolution's own normalization and ReLU gave,
    one more of each follows the last block, and the shortcuts of 1x1 read what is normalized and are not so themselves.
    All else is as in zoo/resnet18.prototxt.
    The stage "best", which solvers/resnet34_preact_best.solver names, trains on random resized crops instead.
    Parameters: 21,385,480.
    Published: 0.48 of the validation images. Reached: 0.382 of the 500 validation images of the first 20 classes after
    400 iterations of 100 images, 0.530 with solvers/resnet34_preact_best.solver; the whole set has not been run yet.
    """
    n = start(256, MKRTCHYAN)
    return end(n, "ResNet-34 pre-activation", preactivated(n, stem(n, n.data), CLASSES))


def resnet50() -> NetParameter:
    """ResNet-50 on Tiny ImageNet (200 classes, whole images of 64x64).
    Source: K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition" (2015), with the stride on
    the 3x3 convolution, as in torchvision. No study of the five has it: all else is as in zoo/resnet18.prototxt.
    The stage "best" trains on random resized crops instead: --set train_state.stage=best.
    Parameters: 23,917,832.
    Published: others report 0.635 of the validation images, by a recipe that is not known here. Reached: not run yet.
    """
    return _torchvision(50, MKRTCHYAN)


def resnet152() -> NetParameter:
    """ResNet-152 on Tiny ImageNet (200 classes, whole images of 64x64).
    Source: K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition" (2015), with the stride on
    the 3x3 convolution, as in torchvision; used by a course project, "From linear to ResNet" (UC Irvine, 2023). Its
    training images are flipped, shifted, rotated, and their contrast multiplied by 0.7 to 1.3. Nothing is changed for
    the smaller image but the 200 outputs.
    Open there: by how much images are shifted and rotated (a tenth of a side, 10 degrees), what they are scaled by
    (nothing, less the mean image); fillers (msra).
    Parameters: 58,553,608.
    Published: curves only. Reached: not run yet.
    """
    return _torchvision(152, IRVINE)


def _torchvision(depth: int, transforms: Transforms) -> NetParameter:
    n = start(256, transforms)
    return end(n, f"ResNet-{depth}", resnet(n, stem(n, n.data), depth, CLASSES))


def stem(n: NetSpec, images: Top) -> Top:
    """A 7x7 convolution and a pooling: 64 maps of a quarter of the images' size."""
    return pool(n, "pool1", conv_bn_relu(n, "conv1", images, 64, 7, stride=2, pad=3), 3, 2, pad=1, round_mode="FLOOR")


def resnet(n: NetSpec, bottom: Top, depth: int, classes: int) -> Top:
    """What comes behind the stem, with `depth` 18 to 152: the scores fc (N, classes)."""
    x, channels = bottom, 64
    for stage, count in enumerate(BLOCKS[depth]):
        width = 64 * 2**stage
        outputs = width if depth < 50 else 4 * width
        for index in range(count):
            name, stride = f"res{stage + 2}.{index}", 2 if stage and not index else 1
            branch = (_basic if depth < 50 else _bottleneck)(n, name, x, width, stride)
            if stride > 1 or channels != outputs:
                x = conv_bn(n, f"{name}/shortcut", x, outputs, 1, stride=stride)
            x, channels = relu(n, name, put(n, name, L.Eltwise(branch, x))), outputs
    return full(n, "fc", global_pool(n, "pool5", x), classes)


def _basic(n: NetSpec, name: str, bottom: Top, width: int, stride: int) -> Top:
    x = conv_bn_relu(n, f"{name}/conv1", bottom, width, 3, stride=stride, pad=1)
    return conv_bn(n, f"{name}/conv2", x, width, 3, pad=1)


def _bottleneck(n: NetSpec, name: str, bottom: Top, width: int, stride: int) -> Top:
    x = conv_bn_relu(n, f"{name}/conv1", bottom, width, 1)
    x = conv_bn_relu(n, f"{name}/conv2", x, width, 3, stride=stride, pad=1)
    return conv_bn(n, f"{name}/conv3", x, 4 * width, 1)


def preactivated(n: NetSpec, bottom: Top, classes: int) -> Top:
    """ResNet-34's blocks with full pre-activation behind the stem: the scores fc (N, classes)."""
    x = active = bottom
    for stage, count in enumerate(BLOCKS[34]):
        width = 64 * 2**stage
        for index in range(count):
            name, stride = f"res{stage + 2}.{index}", 2 if stage and not index else 1
            branch = bn_relu(n, f"{name}/conv1", _conv3(n, f"{name}/conv1", active, width, stride))
            if stride > 1:
                x = conv(n, f"{name}/shortcut", active, width, 1, stride=stride, bias_term=False)
            x = put(n, name, L.Eltwise(_conv3(n, f"{name}/conv2", branch, width), x))
            active = bn_relu(n, f"{name}/out", x)
    return full(n, "fc", global_pool(n, "pool5", active), classes)


def _conv3(n: NetSpec, name: str, bottom: Top, width: int, stride: int = 1) -> Top:
    return conv(n, name, bottom, width, 3, stride=stride, pad=1, bias_term=False)
