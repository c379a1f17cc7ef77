"""The forms in which the nets of a run compute their layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from netspec.columns import aligned
from netspec.forms.base import PLAIN
from netspec.forms.choice import Timed
from netspec.net import Net
from netspec.schema.netspec_pb2 import Compile, RunState
from netspec.solver.layout import FORMATS, faster_format, lay_out_weights
from netspec.solver.speed import Speed, best_of


class Forms:
    """Found before the first iteration, and kept in snapshots: a run that resumes computes as before, to the bit, also
    where it would choose otherwise by now."""

    def __init__(
        self, speed: Speed, net: Net, history: Sequence[Tensor], test_nets: Callable[[], Sequence[Net]]
    ) -> None:
        self._speed, self._net, self._history, self._test_nets = speed, net, history, test_nets
        self._taken: dict[str, str] | None = None
        self._format = ""
        self._lay_out()

    def take(self, iterations: int) -> list[str]:
        """Let the nets compute in the forms, and in the memory format, that are best for so many iterations; in words
        what is not as the solver's fields alone would have it."""
        if self._speed.compile != Compile.NONE:
            return []
        self._format = self._best_format(iterations)
        self._lay_out(FORMATS.get(self._format))
        if self._taken is None:
            self._taken = self._speed.choose_forms(self._net, iterations)
        self._net.use_forms(self._taken)
        for net in self._test_nets():
            net.use_forms(self._speed.choose_forms(net, iterations))
        remarks = ["CONTIGUOUS: measured to be faster in this net"] if self._format == "CONTIGUOUS" else []
        if self._taken:
            remarks.append(f"{len(self._taken)} sites in forms that were measured to be faster (--plan lists them)")
        return remarks

    def _best_format(self, iterations: int) -> str:
        """The name of the memory format that is best for so many iterations; nothing where it is as the solver's fields
        alone would have it."""
        is_open = self._taken is None and self._speed.is_format_open and self._speed.measures(iterations)
        return faster_format(self._net) if is_open else self._format

    def _lay_out(self, memory_format: torch.memory_format | None = None) -> None:
        """Let images and weights lie so, or weights as the nets have it."""
        if memory_format:
            for net in (self._net, *self._test_nets()):
                net.memory_format = memory_format
        lay_out_weights(self._net, self._history)

    def plan(self, iterations: int) -> Iterator[str]:
        """A table for each net: the layers that have other forms, the milliseconds of each form in the memory format of
        a run of so many iterations, and what that run takes, or why it takes none. The nets stay as they are."""
        before = self._net.memory_format
        self._lay_out(FORMATS.get(self._best_format(iterations)))
        reason = self._speed.reason_against_forms(iterations)
        for number, net in enumerate([self._net, *self._test_nets()]):
            timed = self._speed.timed(net)
            best = {} if reason else best_of(net, timed)
            taken = best if number or self._taken is None else self._taken
            yield f"test net {number - 1}" if number else "train net"
            rows = [("layers", "bottoms", "forms, ms", "taken")]
            rows += [_row(entry, taken.get(entry.site.key, "")) for entry in timed]
            yield from (f"  {line}" for line in aligned(rows))
            seconds = sum(_saved(entry, taken) for entry in timed)
            if taken:
                yield f"saved: {1000 * seconds:.3g} ms an iteration"
            elif best:
                yield "no form is taken: a run that resumes computes as it began"
            else:
                yield f"no form is taken: {reason or 'nothing to gain'}"
        self._lay_out(before)

    def store(self, run: RunState) -> None:
        run.memory_format = self._format
        run.form.extend(f"{site}={form}" for site, form in (self._taken or {}).items())

    def restore(self, run: RunState) -> None:
        """What the solver says by now goes before the snapshot."""
        if self._speed.forms is False or self._speed.compile != Compile.NONE:
            return
        self._format = run.memory_format if self._speed.is_format_open else ""
        self._taken = {site: form for site, _, form in (entry.rpartition("=") for entry in run.form)}
        self._lay_out(FORMATS.get(self._format))
        self._net.use_forms(self._taken)


def _saved(entry: Timed, taken: Mapping[str, str]) -> float:
    """The seconds that the form taken for a site saves."""
    return entry.seconds[PLAIN] - entry.seconds.get(taken.get(entry.site.key, PLAIN), entry.seconds[PLAIN])


def _row(entry: Timed, taken: str) -> tuple[str, str, str, str]:
    site = entry.site
    shapes = " ".join("x".join(map(str, shape)) for shape in site.bottoms)
    times = "  ".join(f"{name} {1000 * seconds:.3f}" for name, seconds in entry.seconds.items())
    return " ".join(layer.node.name for layer in site.layers), shapes, times, taken
