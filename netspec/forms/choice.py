"""Which form computes each site of a net: the fastest, measured once on a machine and remembered."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from netspec.compiler import Compiled
from netspec.files import cache_folder
from netspec.forms.base import PLAIN, Site
from netspec.forms.places import sites
from netspec.forms.trial import Setting, measure
from netspec.machine_memory import MachineMemory, digest, layer_text, stamp

_WORTH = 0.97
"""A form must take less than this share of the plain layers' time."""


@dataclass(frozen=True)
class Timed:
    """A site with the seconds of its forms, and whether it was measured now."""

    site: Site
    seconds: dict[str, float]
    is_new: bool

    @property
    def best(self) -> str:
        """The fastest form; the plain one unless another is clearly faster."""
        name = min(self.seconds, key=self.seconds.__getitem__)
        return name if self.seconds[name] < _WORTH * self.seconds[PLAIN] else PLAIN

    @property
    def gain(self) -> float:
        """The seconds that the best form saves."""
        return self.seconds[PLAIN] - self.seconds[self.best]


def time_sites(compiled: Compiled, setting: Setting) -> list[Timed]:
    """All sites of a net with the times of their forms, from the machine's memory as far as it has them."""
    memory = _memory(setting.device)
    timed = []
    for site in sites(compiled):
        with_gradients = site.layers[0].module.training
        into_bottoms = not {layer.node.bottoms[place] for layer, place in site.reads} & set(compiled.inputs)
        key = _key(site, setting, with_gradients, into_bottoms)
        seconds = memory.get(key) or {}
        if is_new := set(seconds) != {PLAIN, *(kind.name for kind in site.forms)}:
            seconds = measure(site, setting, with_gradients, into_bottoms)
            memory.put(key, seconds)
        timed.append(Timed(site, seconds, is_new))
    memory.write()
    return timed


def choose(timed: Sequence[Timed], order: Sequence[str]) -> dict[str, str]:
    """The form of each site, by its key, such that together they save most: of sites that share a layer one is taken.
    `order` are the keys of the net's layers."""
    place = {key: index for index, key in enumerate(order)}
    worth = [entry for entry in timed if entry.best != PLAIN]
    rows = [entry for entry in worth if _is_row(entry.site, place)]
    saved, taken = _best_rows(rows, place)
    joins = dict[str, str]()
    for entry in worth:
        if not _is_row(entry.site, place):
            others = [row for row in rows if not row.site.keys & entry.site.keys]
            saved_by_others, taken_of_others = _best_rows(others, place)
            if saved_by_others + entry.gain > saved:
                rows, saved, taken = others, saved_by_others, taken_of_others
                joins[entry.site.key] = entry.best
    return taken | joins


def _is_row(site: Site, place: Mapping[str, int]) -> bool:
    """Whether the layers of a site stand one after the other in their net."""
    places = [place[layer.key] for layer in site.layers]
    return places == list(range(places[0], places[0] + len(places)))


def _best_rows(timed: Sequence[Timed], place: Mapping[str, int]) -> tuple[float, dict[str, str]]:
    """The forms of sites, of layers one after the other, that together save most, and the seconds that they save."""
    best: list[tuple[float, dict[str, str]]] = [(0.0, {})] * (len(place) + 1)  # from each layer on
    starting: dict[int, list[Timed]] = {}
    for entry in timed:
        starting.setdefault(place[entry.site.layers[0].key], []).append(entry)
    for start in range(len(place) - 1, -1, -1):
        best[start] = best[start + 1]
        for entry in starting.get(start, []):
            saved, after = best[start + len(entry.site.layers)]
            if saved + entry.gain > best[start][0]:
                best[start] = saved + entry.gain, {entry.site.key: entry.best, **after}
    return best[0]


def remembered(device: torch.device, key: str, measure: Callable[[], dict[str, float]]) -> dict[str, float]:
    """Seconds of several ways, by name, as they were measured on this machine under a key, or are now."""
    memory = _memory(device)
    seconds = memory.get(key)
    if seconds is None:
        seconds = measure()
        memory.put(key, seconds)
        memory.write()
    return seconds


def _memory(device: torch.device) -> MachineMemory[dict[str, float]]:
    """The seconds of several ways, by name, under a key that tells what was measured."""
    return MachineMemory(cache_folder(), "times", f"{environment(device)} {stamp(Path(__file__).parent)}", _is_times)


def environment(device: torch.device) -> str:
    """What times depend on besides the layers."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def _processor() -> str:
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line for line in lines if line.startswith("model name")).partition(":")[2].strip()
        return f"{model} x {os.cpu_count()}"
    return f"{platform.machine()} {platform.processor()} x {os.cpu_count()}"


def _key(site: Site, setting: Setting, with_gradients: bool, into_bottoms: bool) -> str:
    """What tells a site from one that may take another time."""
    layers = [(layer.node.param, layer.module) for layer in site.layers]
    texts = [f"{layer_text(p)} {[blob.requires_grad for blob in m.blobs()]} {m.in_place}" for p, m in layers]
    how = f"{setting.memory_format} {setting.dtype} {with_gradients} {into_bottoms}"
    return digest(f"{site.bottoms} {texts} {how}")


def _is_times(content: object) -> bool:
    return isinstance(content, dict) and all(isinstance(seconds, float) for seconds in content.values())
