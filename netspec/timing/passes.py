"""Runs a net layer by layer, so that each one's forward and backward pass is timed by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from netspec.compiler import BuiltLayer
from netspec.net import Net
from netspec.timing.clock import Clock

FORWARD, BACKWARD = "forward", "backward"


@dataclass(frozen=True)
class Call:
    """A layer that was run: its tops, and the leaves that stand for them in all that reads them."""

    key: str
    tops: tuple[Tensor, ...]
    leaves: tuple[Tensor, ...]


class LayerPasses:
    """An iteration of a net whose graph for autograd is cut behind every layer. The clock gets the seconds of each
    layer as ``(key, FORWARD)`` and ``(key, BACKWARD)``, the latter where a gradient comes to its tops and goes on.

    What stands between two layers (a bottom of 16 bits made float32) counts with the second one, and the sum of a
    blob's gradients with the layers that read it.
    """

    def __init__(self, net: Net, inputs: Mapping[str, Tensor], clock: Clock) -> None:
        self._net, self._inputs, self._clock = net, inputs, clock
        self._calls: list[Call] = []

    def run(self) -> None:
        """Forward, and backward where the net has a loss."""
        self._net.zero_grad()
        with self._cut(), torch.set_grad_enabled(bool(self._net.loss_weights)):
            self._clock.start()
            loss = self._net.loss(self._net(**self._inputs))
        if loss.requires_grad:
            loss.backward()  # type: ignore[no-untyped-call]  # only to the leaves of the losses
        while self._calls:
            self._run_back(self._calls.pop())
        self._clock.settle()

    @contextmanager
    def _cut(self) -> Iterator[None]:
        handles = []
        for layer in self._net.compiled.layers:
            handles.append(layer.module.register_forward_pre_hook(partial(self._before, layer)))
            handles.append(layer.module.register_forward_hook(partial(self._after, layer)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _before(self, layer: BuiltLayer, module: nn.Module, bottoms: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Autograd lets no layer overwrite a leaf: one that works in place gets a copy, off the clock."""
        if not layer.module.in_place or not any(bottom.requires_grad for bottom in bottoms):
            return bottoms
        self._clock.stop((layer.key, FORWARD))
        copies = tuple(bottom.clone() for bottom in bottoms)
        self._clock.start()
        return copies

    def _after(
        self, layer: BuiltLayer, module: nn.Module, bottoms: object, result: Tensor | tuple[Tensor, ...] | None
    ) -> Tensor | tuple[Tensor, ...]:
        self._clock.stop((layer.key, FORWARD))
        tops = (result,) if isinstance(result, Tensor) else result or ()
        leaves = tuple(top.detach().requires_grad_(top.requires_grad) for top in tops)
        self._calls.append(Call(layer.key, tops, leaves))
        self._clock.start()
        return leaves[0] if isinstance(result, Tensor) else leaves

    def _run_back(self, call: Call) -> None:
        reached = [(top, leaf.grad) for top, leaf in zip(call.tops, call.leaves, strict=True) if leaf.grad is not None]
        if reached:
            self._clock.start()
            torch.autograd.backward([top for top, _ in reached], [grad for _, grad in reached])
            self._clock.stop((call.key, BACKWARD))


def run_whole(net: Net, inputs: Mapping[str, Tensor], clock: Clock) -> None:
    """An iteration of a net as it is; the clock gets the seconds of FORWARD and BACKWARD."""
    net.zero_grad()
    with torch.set_grad_enabled(bool(net.loss_weights)):
        clock.start()
        loss = net.loss(net(**inputs))
        clock.stop(FORWARD)
    if loss.requires_grad:
        clock.start()
        loss.backward()  # type: ignore[no-untyped-call]
        clock.stop(BACKWARD)
    clock.settle()
