"""How long each form of a site takes on this machine, by a short measurement."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from netspec.forms.base import PLAIN, Site
from netspec.layers.base import Shape
from netspec.memory_format import laid_out

_Way = Callable[..., Tensor | tuple[Tensor, ...]]

_ROUNDS = 8
_MOST_ROUNDS = 40  # with neighbours on the machine
_SURE = 1.03  # the second least time of a way is within this of its least
_LEAST_SECONDS = 0.002  # of one timing: shorter layers run several times


@dataclass(frozen=True)
class Setting:
    """How the layers of a net are run: on which device, in which memory format, under which context (autocast)."""

    device: torch.device
    memory_format: torch.memory_format
    context: Callable[[], AbstractContextManager[object]]

    @property
    def dtype(self) -> torch.dtype:
        """Of the blobs between layers that take 16 bits."""
        with self.context():
            low = torch.is_autocast_enabled(self.device.type)
            return torch.get_autocast_dtype(self.device.type) if low else torch.float32


def measure(site: Site, setting: Setting, with_gradients: bool, into_bottoms: bool) -> dict[str, float]:
    """Seconds of the plain layers and of each form, by name: the least of some rounds, more of them as long as a least
    time was met only once; each forward, and backward `with_gradients`, into the bottoms too with `into_bottoms`.

    The layers are copies, and torch's random state is what it was: nothing of the net changes.
    """
    layers = [copy.deepcopy(layer.module).to(setting.device) for layer in site.layers]
    ways: dict[str, _Way] = {PLAIN: lambda *bottoms: site.plain(layers, bottoms)}
    ways |= {kind.name: kind(layers).train(layers[0].training) for kind in site.forms}
    parameters = [blob for layer in layers for blob in layer.parameters() if blob.requires_grad]
    devices = [setting.device] if setting.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), torch.set_grad_enabled(with_gradients):
        # What a data layer hands out has 32 bits.
        dtype = setting.dtype if into_bottoms and layers[0].takes_16_bits else torch.float32
        bottoms = [_bottom(shape, setting, dtype, with_gradients and into_bottoms) for shape in site.bottoms]
        turns = {name: _Turn(way, bottoms, parameters, setting) for name, way in ways.items()}
        times: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(_MOST_ROUNDS):
            for name, turn in turns.items():
                times[name].append(turn.seconds())
            if all(map(_is_sure, times.values())):
                break
    return {name: min(seconds) for name, seconds in times.items()}


def _is_sure(seconds: list[float]) -> bool:
    least = sorted(seconds)[:2]
    return len(seconds) >= _ROUNDS and least[1] <= _SURE * least[0]


def _bottom(shape: Shape, setting: Setting, dtype: torch.dtype, learns: bool) -> Tensor:
    blob = torch.randn(shape, device=setting.device).to(dtype)
    return laid_out(blob, setting.memory_format).requires_grad_(learns)


class _Made(torch.autograd.Function):
    """A blob as a layer below would make it, which may be overwritten in place; no leaf may, nor a view of one."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        made = torch.empty(0, dtype=x.dtype, device=x.device)
        return made.set_(x.untyped_storage(), x.storage_offset(), x.shape, x.stride())

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad


class _Turn:
    """One way to compute a site, run as often as it takes to be timed."""

    def __init__(self, way: _Way, bottoms: list[Tensor], parameters: Sequence[Tensor], setting: Setting) -> None:
        self._way, self._bottoms, self._setting = way, bottoms, setting
        self._sources = [*(bottom for bottom in bottoms if bottom.requires_grad), *parameters]
        self._repetitions = 1
        self._run()  # what is made once is made now
        self._repetitions = max(1, round(_LEAST_SECONDS / max(self.seconds(), 1e-6)))

    def seconds(self) -> float:
        """How long it takes once."""
        started = self._now()
        for _ in range(self._repetitions):
            self._run()
        return (self._now() - started) / self._repetitions

    def _run(self) -> None:
        bottoms = [_Made.apply(bottom) for bottom in self._bottoms]
        with self._setting.context():
            tops = self._way(*bottoms)
        top = tops if isinstance(tops, Tensor) else tops[0]
        if top.requires_grad:
            torch.autograd.grad(top, self._sources, top.detach(), allow_unused=True)

    def _now(self) -> float:
        if self._setting.device.type == "cuda":
            torch.cuda.synchronize(self._setting.device)
        return time.perf_counter()
