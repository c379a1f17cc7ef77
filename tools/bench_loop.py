"""Training loops as one writes them with torch.nn alone: a plain one, and one tuned by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice, repeat

import numpy as np
import torch
import torch.nn.functional as F
from bench_nets import CLASSES, NETS
from bench_tuned import tune
from torch import Tensor, nn

Batch = Sequence[Tensor]  # images (N, 3, H, W) and labels (N,)

MOMENTUM, RATE, DECAY = 0.9, 0.0005, 0.0005


@dataclass(frozen=True)
class Work:
    """What is trained: a net of `NETS` with its weights, and the multipliers (rate, decay) of each; on a batch that
    stays, unless the loop is given others. Arrays, so that it can go to another process."""

    name: str
    device: str
    weights: list[np.ndarray]
    multipliers: list[tuple[float, float]]
    images: np.ndarray
    labels: np.ndarray
    is_bf16: bool = False

    def loop(self, open_batches: Callable[[], Iterator[Batch]] | None = None) -> Loop:
        """The plain loop: fp32 unless it is said to be under autocast, channel after channel, torch.optim.SGD."""
        return Loop(self, open_batches, is_bf16=self.is_bf16)

    def tuned_loop(self, forms: Mapping[str, Sequence[str]], is_bf16: bool, layout: torch.memory_format) -> Loop:
        """The loop tuned by hand: these forms of the layers, images in this layout (weights not, as in netspec: in fp32
        channels last that costs a sixth), fused updates."""
        return Loop(self, None, forms, is_bf16, layout)


class Loop:
    """The usual training loop with SGD; tuned where it is given forms."""

    def __init__(
        self,
        work: Work,
        open_batches: Callable[[], Iterator[Batch]] | None = None,
        forms: Mapping[str, Sequence[str]] | None = None,
        is_bf16: bool = False,
        layout: torch.memory_format = torch.contiguous_format,
    ) -> None:
        self.loss = torch.zeros(())
        self._device = torch.device(work.device)
        self._layout = layout
        net = NETS[work.name](CLASSES)
        with torch.no_grad():
            for parameter, weight in zip(net.parameters(), work.weights, strict=True):
                parameter.copy_(torch.from_numpy(weight))
        if forms is not None:
            tune(net, forms)
        self.net = net.to(self._device).train()
        self._optimizer = torch.optim.SGD(self._groups(work), RATE, MOMENTUM, fused=None if forms is None else True)
        self._autocast = torch.autocast(self._device.type, torch.bfloat16, enabled=is_bf16)
        self._open_batches = open_batches or (lambda: repeat(resident))
        self._batches: Iterator[Batch] | None = None
        resident = self._moved((torch.from_numpy(work.images), torch.from_numpy(work.labels)))

    def _groups(self, work: Work) -> list[dict[str, object]]:
        """The parameters by their multipliers."""
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for parameter, multipliers in zip(self.net.parameters(), work.multipliers, strict=True):
            groups.setdefault(multipliers, []).append(parameter)
        return [
            {"params": parameters, "lr": RATE * rate, "weight_decay": DECAY * decay}
            for (rate, decay), parameters in groups.items()
        ]

    def _moved(self, batch: Batch) -> Batch:
        images, labels = batch
        images = images.to(self._device, non_blocking=True, memory_format=self._layout)
        return images, labels.to(self._device, non_blocking=True)

    def step(self, iterations: int) -> None:
        """Train for some iterations."""
        if self._batches is None:
            self._batches = self._open_batches()
        for batch in islice(self._batches, iterations):
            self._optimizer.zero_grad()
            images, labels = self._moved(batch)
            with self._autocast:
                scores = self.net(images)
            loss = F.cross_entropy(scores.float(), labels)
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimizer.step()
            self.loss = loss.detach()

    def close(self) -> None:
        """End the workers behind the data; the next step starts new ones."""
        self._batches = None

    def losses(self, iterations: int) -> list[float]:
        """The losses of the next iterations, while dropout rests: its masks follow the layout in memory, so that one
        seed gives each side others."""
        found = []
        with resting([(module, "p") for module in self.net.modules() if isinstance(module, nn.Dropout)]):
            for _ in range(iterations):
                self.step(1)
                found.append(float(self.loss))
        return found


@contextmanager
def resting(ratios: Sequence[tuple[nn.Module, str]]) -> Iterator[None]:
    """Let layers drop nothing for a while; each comes with the name of its ratio."""
    before = [getattr(module, name) for module, name in ratios]
    for module, name in ratios:
        setattr(module, name, 0.0)
    yield
    for (module, name), ratio in zip(ratios, before, strict=True):
        setattr(module, name, ratio)
