"""The nets of the benchmark as one writes them with torch.nn alone; their parameters come in the zoo's order."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CLASSES = 200


def nin(classes: int) -> nn.Sequential:
    """Network in Network in its CIFAR form (Lin et al. 2013), as zoo/nin.prototxt has it."""
    return nn.Sequential(
        *_conv_relu(3, 192, 5, padding=2), *_conv_relu(192, 160, 1), *_conv_relu(160, 96, 1),
        _max_pool(3, 2), nn.Dropout(0.5),
        *_conv_relu(96, 192, 5, padding=2), *_conv_relu(192, 192, 1), *_conv_relu(192, 192, 1),
        nn.AvgPool2d(3, 2, ceil_mode=True), nn.Dropout(0.5),
        *_conv_relu(192, 192, 3, padding=1), *_conv_relu(192, 192, 1), *_conv_relu(192, classes, 1),
        *_global_pool(),
    )  # fmt: skip


def nin_imagenet(classes: int) -> nn.Sequential:
    """Network in Network in its ImageNet form."""
    return nn.Sequential(
        *_conv_relu(3, 96, 11, stride=4), *_conv_relu(96, 96, 1), *_conv_relu(96, 96, 1), _max_pool(3, 2),
        *_conv_relu(96, 256, 5, padding=2), *_conv_relu(256, 256, 1), *_conv_relu(256, 256, 1), _max_pool(3, 2),
        *_conv_relu(256, 384, 3, padding=1), *_conv_relu(384, 384, 1), *_conv_relu(384, 384, 1), _max_pool(3, 2),
        nn.Dropout(0.5),
        *_conv_relu(384, 1024, 3, padding=1), *_conv_relu(1024, 1024, 1), *_conv_relu(1024, classes, 1),
        *_global_pool(),
    )  # fmt: skip


def alexnet(classes: int) -> nn.Sequential:
    """AlexNet with its two groups and LRN (Krizhevsky et al. 2012), as zoo/alexnet.prototxt has it."""
    return nn.Sequential(
        *_conv_relu(3, 96, 11, stride=4), nn.LocalResponseNorm(5), _max_pool(3, 2),
        *_conv_relu(96, 256, 5, padding=2, groups=2), nn.LocalResponseNorm(5), _max_pool(3, 2),
        *_conv_relu(256, 384, 3, padding=1), *_conv_relu(384, 384, 3, padding=1, groups=2),
        *_conv_relu(384, 256, 3, padding=1, groups=2), _max_pool(3, 2), nn.Flatten(),
        *_classifier(256, classes),
    )  # fmt: skip


def vgg16(classes: int) -> nn.Sequential:
    """VGG-16 (Simonyan and Zisserman 2014), its classifier for images of 64 x 64."""
    parts: list[nn.Module] = []
    channels = 3
    for outputs, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(count):
            parts += _conv_relu(channels, outputs, 3, padding=1)
            channels = outputs
        parts.append(nn.MaxPool2d(2))
    return nn.Sequential(*parts, nn.Flatten(), *_classifier(512 * 2 * 2, classes))


def resnet18(classes: int, large_stem: bool = True) -> nn.Sequential:
    """ResNet-18 (He et al. 2015) with its stem of 7 x 7 and a pooling, or with one of 3 x 3."""
    parts = [*_conv_bn_relu(3, 64, 7, stride=2, padding=3), nn.MaxPool2d(3, 2, 1)]
    if not large_stem:
        parts = [*_conv_bn_relu(3, 64, 3, padding=1)]
    channels = 64
    for width in (64, 128, 256, 512):
        parts += [Residual(channels, width), Residual(width, width)]
        channels = width
    return nn.Sequential(*parts, *_global_pool(), nn.Linear(512, classes))


class Residual(nn.Module):
    """Two convolutions and their input, which goes through one of 1 x 1 where the size changes."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        stride = 1 if channels == width else 2
        self.branch = nn.Sequential(
            *_conv_bn_relu(channels, width, 3, stride=stride, padding=1), *_conv_bn(width, width, 3, padding=1)
        )
        self.shortcut = nn.Sequential(*(_conv_bn(channels, width, 1, stride=stride) if stride > 1 else ()))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.branch(x) + self.shortcut(x), inplace=True)


def googlenet(classes: int) -> nn.Sequential:
    """GoogLeNet with batch normalization (after Szegedy et al. 2014), as torchvision has it, without its side heads."""
    return nn.Sequential(
        *_cbr(3, 64, 7, stride=2, padding=3), _max_pool(3, 2),
        *_cbr(64, 64, 1), *_cbr(64, 192, 3, padding=1), _max_pool(3, 2),
        Inception(192, 64, 96, 128, 16, 32, 32), Inception(256, 128, 128, 192, 32, 96, 64), _max_pool(3, 2),
        Inception(480, 192, 96, 208, 16, 48, 64), Inception(512, 160, 112, 224, 24, 64, 64),
        Inception(512, 128, 128, 256, 24, 64, 64), Inception(512, 112, 144, 288, 32, 64, 64),
        Inception(528, 256, 160, 320, 32, 128, 128), _max_pool(2, 2),
        Inception(832, 256, 160, 320, 32, 128, 128), Inception(832, 384, 192, 384, 48, 128, 128),
        *_global_pool(), nn.Dropout(0.2), nn.Linear(1024, classes),
    )  # fmt: skip


class Inception(nn.Module):
    """Four branches, joined: 1 x 1; two reductions, each with a 3 x 3 behind it; a pooling with a 1 x 1."""

    def __init__(self, channels: int, one: int, reduce3: int, three: int, reduce5: int, five: int, pooled: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList([
            nn.Sequential(*_cbr(channels, one, 1)),
            nn.Sequential(*_cbr(channels, reduce3, 1), *_cbr(reduce3, three, 3, padding=1)),
            nn.Sequential(*_cbr(channels, reduce5, 1), *_cbr(reduce5, five, 3, padding=1)),
            nn.Sequential(nn.MaxPool2d(3, 1, 1), *_cbr(channels, pooled, 1)),
        ])  # fmt: skip
        self.join = Join()

    def forward(self, x: Tensor) -> Tensor:
        joined: Tensor = self.join(*(branch(x) for branch in self.branches))
        return joined


class Join(nn.Module):
    """The channels of several blobs, one after the other."""

    def forward(self, *parts: Tensor) -> Tensor:
        return torch.cat(parts, 1)


def densenet161(classes: int) -> nn.Sequential:
    """DenseNet-161 (Huang et al. 2016)."""
    parts: list[nn.Module] = [*_conv_bn_relu(3, 96, 7, stride=2, padding=3), nn.MaxPool2d(3, 2, 1)]
    channels = 96
    for count in (6, 12, 36, 24):
        if len(parts) > 4:
            parts += [*_bn_relu_conv(channels, channels // 2, 1), nn.AvgPool2d(2)]
            channels //= 2
        for _ in range(count):
            parts.append(Dense(channels, 48))
            channels += 48
    parts += [nn.BatchNorm2d(channels), nn.ReLU(inplace=True), *_global_pool()]
    return nn.Sequential(*parts, nn.Linear(channels, classes))


class Dense(nn.Module):
    """What it reads, joined with `growth` new channels."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.new = nn.Sequential(
            *_bn_relu_conv(channels, 4 * growth, 1), *_bn_relu_conv(4 * growth, growth, 3, padding=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.new(x)], 1)


NETS: dict[str, Callable[[int], nn.Sequential]] = {
    "nin": nin,
    "nin_imagenet": nin_imagenet,
    "alexnet": alexnet,
    "resnet18": resnet18,
    "resnet18_3x3": partial(resnet18, large_stem=False),
    "vgg16": vgg16,
    "googlenet": googlenet,
    "densenet161": densenet161,
}


def _conv_relu(channels: int, outputs: int, kernel: int, **settings: int) -> list[nn.Module]:
    return [nn.Conv2d(channels, outputs, kernel, **settings), nn.ReLU(inplace=True)]  # type: ignore[arg-type]


def _conv_bn(channels: int, outputs: int, kernel: int, eps: float = 1e-5, **settings: int) -> list[nn.Module]:
    convolution = nn.Conv2d(channels, outputs, kernel, bias=False, **settings)  # type: ignore[arg-type]
    return [convolution, nn.BatchNorm2d(outputs, eps)]


def _conv_bn_relu(channels: int, outputs: int, kernel: int, eps: float = 1e-5, **settings: int) -> list[nn.Module]:
    return [*_conv_bn(channels, outputs, kernel, eps, **settings), nn.ReLU(inplace=True)]


_cbr = partial(_conv_bn_relu, eps=1e-3)


def _bn_relu_conv(channels: int, outputs: int, kernel: int, padding: int = 0) -> list[nn.Module]:
    convolution = nn.Conv2d(channels, outputs, kernel, padding=padding, bias=False)
    return [nn.BatchNorm2d(channels), nn.ReLU(inplace=True), convolution]


def _max_pool(kernel: int, stride: int) -> nn.Module:
    return nn.MaxPool2d(kernel, stride, ceil_mode=True)


def _global_pool() -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten()]


def _classifier(inputs: int, classes: int) -> list[nn.Module]:
    """Three fully connected layers with dropout."""
    parts: list[nn.Module] = []
    for channels in (inputs, 4096):
        parts += [nn.Linear(channels, 4096), nn.ReLU(inplace=True), nn.Dropout(0.5)]
    return [*parts, nn.Linear(4096, classes)]
