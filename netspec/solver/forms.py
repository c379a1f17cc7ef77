"""The forms in which the nets of a run compute their layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from torch import Tensor

from netspec.columns import aligned
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
        if self._taken is None and self._speed.is_format_open and self._speed.measures(iterations):
            self._format = faster_format(self._net)
        self._lay_out()
        if self._taken is None:
            self._taken = self._speed.choose_forms(self._net, iterations)
        self._net.use_forms(self._taken)
        for net in self._test_nets():
            net.use_forms(self._speed.choose_forms(net, iterations))
        remarks = ["CONTIGUOUS: measured to be faster in this net"] if self._format == "CONTIGUOUS" else []
        if self._taken:
            remarks.append(f"{len(self._taken)} sites in forms that were measured to be faster (--plan lists them)")
        return remarks

    def _lay_out(self) -> None:
        """Let images and weights lie as is best."""
        if self._format:
            for net in (self._net, *self._test_nets()):
                net.memory_format = FORMATS[self._format]
        lay_out_weights(self._net, self._history)

    def plan(self) -> Iterator[str]:
        """A table for each net: the layers that have other forms, the milliseconds of each form, and the one that is
        the fastest."""
        for number, net in enumerate([self._net, *self._test_nets()]):
            timed = self._speed.timed(net)
            best = best_of(net, timed)
            saved = 1000 * sum(entry.gain for entry in timed if entry.site.key in best)
            yield f"test net {number - 1}" if number else "train net"
            rows = [("layers", "bottoms", "forms, ms", "taken")]
            rows += [_row(entry, best.get(entry.site.key, "")) for entry in timed]
            yield from (f"  {line}" for line in aligned(rows))
            yield f"saved: {saved:.3g} ms an iteration" if best else "nothing to gain"

    def store(self, run: RunState) -> None:
        run.memory_format = self._format
        run.form.extend(f"{site}={form}" for site, form in (self._taken or {}).items())

    def restore(self, run: RunState) -> None:
        """What the solver says by now goes before the snapshot."""
        if self._speed.forms is False or self._speed.compile != Compile.NONE:
            return
        self._format = run.memory_format if self._speed.is_format_open else ""
        self._taken = {site: form for site, _, form in (entry.rpartition("=") for entry in run.form)}
        self._lay_out()
        self._net.use_forms(self._taken)


def _row(entry: Timed, taken: str) -> tuple[str, str, str, str]:
    site = entry.site
    shapes = " ".join("x".join(map(str, shape)) for shape in site.bottoms)
    times = "  ".join(f"{name} {1000 * seconds:.3f}" for name, seconds in entry.seconds.items())
    return " ".join(layer.node.name for layer in site.layers), shapes, times, taken
