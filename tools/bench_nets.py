"""The other side of the benchmark: NIN, AlexNet and their loop as one writes them in PyTorch alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Batch = Sequence[Tensor]  # images and labels


def nin(classes: int) -> nn.Sequential:
    """Network in Network in its CIFAR form (Lin et al. 2014), as zoo/nin.prototxt has it."""
    return nn.Sequential(
        *_convolution(3, 192, 5, padding=2), *_convolution(192, 160, 1), *_convolution(160, 96, 1),
        nn.MaxPool2d(3, 2, ceil_mode=True), nn.Dropout(0.5),
        *_convolution(96, 192, 5, padding=2), *_convolution(192, 192, 1), *_convolution(192, 192, 1),
        nn.AvgPool2d(3, 2, ceil_mode=True), nn.Dropout(0.5),
        *_convolution(192, 192, 3, padding=1), *_convolution(192, 192, 1), *_convolution(192, classes, 1),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip


def alexnet(classes: int) -> nn.Sequential:
    """AlexNet with its two groups and LRN (Krizhevsky et al. 2012), as zoo/alexnet.prototxt has it."""
    return nn.Sequential(
        *_convolution(3, 96, 11, stride=4), nn.LocalResponseNorm(5), nn.MaxPool2d(3, 2, ceil_mode=True),
        *_convolution(96, 256, 5, padding=2, groups=2), nn.LocalResponseNorm(5), nn.MaxPool2d(3, 2, ceil_mode=True),
        *_convolution(256, 384, 3, padding=1), *_convolution(384, 384, 3, padding=1, groups=2),
        *_convolution(384, 256, 3, padding=1, groups=2), nn.MaxPool2d(3, 2, ceil_mode=True), nn.Flatten(),
        nn.Linear(256, 4096), nn.ReLU(inplace=True), nn.Dropout(0.5),
        nn.Linear(4096, 4096), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Linear(4096, classes),
    )  # fmt: skip


NETS = {"nin": nin, "alexnet": alexnet}


def _convolution(channels: int, outputs: int, kernel: int, **settings: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(channels, outputs, kernel, **settings), nn.ReLU(inplace=True)  # type: ignore[arg-type]


class Loop:
    """The usual training loop with SGD, biases at twice the rate and without decay as in the nets' files.

    `open_batches` starts the data: images (N, 3, H, W) and labels (N,) without end.
    """

    def __init__(
        self,
        net: nn.Module,
        open_batches: Callable[[], Iterator[Batch]],
        rate: float,
        decay: float,
        device: str,
        layout: torch.memory_format,
    ) -> None:
        self.net = net.to(device, memory_format=layout).train()  # type: ignore[call-overload]
        self.loss = torch.zeros(())
        weights, biases = ([p for p in net.parameters() if (p.dim() == 1) == is_bias] for is_bias in (False, True))
        groups = [{"params": weights, "weight_decay": decay}, {"params": biases, "lr": 2 * rate}]
        self._optimizer = torch.optim.SGD(groups, rate, momentum=0.9)
        self._device, self._layout = device, layout
        self._open_batches = open_batches
        self._batches: Iterator[Batch] | None = None

    def step(self, iterations: int) -> None:
        """Train for some iterations."""
        if self._batches is None:
            self._batches = self._open_batches()
        for images, labels in islice(self._batches, iterations):
            self._optimizer.zero_grad()
            images = images.to(self._device, non_blocking=True, memory_format=self._layout)
            scores = self.net(images)
            loss = F.cross_entropy(scores, labels.to(self._device, non_blocking=True))
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimizer.step()
            self.loss = loss.detach()

    def close(self) -> None:
        """End the workers behind the data; the next step starts new ones."""
        self._batches = None
