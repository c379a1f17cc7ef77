"""The forms in which the nets of a run compute their layers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, repeat

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
        self._taken: list[dict[str, str]] | None = None  # of the train net, and of each test net
        self._format = ""
        self._lay_out(self._format)

    def take(self, iterations: int) -> list[str]:
        """Let the nets compute in the forms, and in the memory format, that are best for so many iterations; in words
        what is not as the solver's fields alone would have it."""
        if self._speed.compile != Compile.NONE:
            return []
        self._format = self._best_format(iterations)
        self._lay_out(self._format)
        if self._taken is None:
            self._taken = [self._speed.choose_forms(net, iterations) for net in self._nets]
        self._use()
        remarks = ["CONTIGUOUS: measured to be faster in this net"] if self._format == "CONTIGUOUS" else []
        if self._taken[0]:
            remarks.append(f"{len(self._taken[0])} sites in forms that were measured to be faster (--plan lists them)")
        return remarks

    @property
    def _nets(self) -> list[Net]:
        return [self._net, *self._test_nets()]

    def _use(self) -> None:
        """Let the nets compute in the forms taken; a test net that came later computes plainly."""
        for net, forms in zip(self._nets, chain(self._taken or [], repeat({})), strict=False):
            net.use_forms(forms)

    def _best_format(self, iterations: int) -> str:
        """The name of the memory format that is best for so many iterations; nothing where it is as the solver's fields
        alone would have it."""
        is_open = self._taken is None and self._speed.is_format_open and self._speed.measures(iterations)
        return faster_format(self._net) if is_open else self._format

    def _lay_out(self, name: str) -> None:
        """Let images and weights lie in the memory format of a name, or as the solver's fields alone would have it."""
        for net in self._nets:
            net.memory_format = FORMATS.get(name, self._speed.memory_format)
        lay_out_weights(self._net, self._history)

    def plan(self, iterations: int) -> Iterator[str]:
        """A table for each net: the layers that have other forms, the milliseconds of each form in the memory format of
        a run of so many iterations, and what that run takes, or why it takes none. The nets stay as they are."""
        self._lay_out(self._best_format(iterations))
        reason = self._speed.reason_against_forms(iterations)
        known = [] if self._taken is None else self._taken
        for number, net in enumerate(self._nets):
            timed = self._speed.timed(net)
            best = {} if reason else best_of(net, timed)
            taken = known[number] if number < len(known) else best
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
        self._lay_out(self._format)

    def store(self, run: RunState) -> None:
        run.memory_format = self._format
        train, *tests = self._taken or [{}]
        run.form.extend(f"{site}={form}" for site, form in train.items())
        for number, forms in enumerate(tests):
            run.test_form.extend(f"{number}:{site}={form}" for site, form in forms.items())

    def restore(self, run: RunState) -> None:
        """What the solver says by now goes before the snapshot."""
        if self._speed.forms is False or self._speed.compile != Compile.NONE:
            return
        self._format = run.memory_format if self._speed.is_format_open else ""
        self._taken = [_parsed(run.form), *({} for _ in self._test_nets())]
        for entry in run.test_form:
            number, _, form = entry.partition(":")
            if int(number) + 1 < len(self._taken):
                self._taken[int(number) + 1] |= _parsed([form])
        self._lay_out(self._format)
        self._use()


def _parsed(entries: Iterable[str]) -> dict[str, str]:
    """Forms by the keys of their sites, of LAYERS=FORM."""
    return {site: form for site, _, form in (entry.rpartition("=") for entry in entries)}


def _saved(entry: Timed, taken: Mapping[str, str]) -> float:
    """The seconds that the form taken for a site saves."""
    return entry.seconds[PLAIN] - entry.seconds.get(taken.get(entry.site.key, PLAIN), entry.seconds[PLAIN])


def _row(entry: Timed, taken: str) -> tuple[str, str, str, str]:
    site = entry.site
    shapes = " ".join("x".join(map(str, shape)) for shape in site.bottoms)
    times = "  ".join(f"{name} {1000 * seconds:.3f}" for name, seconds in entry.seconds.items())
    return " ".join(layer.node.name for layer in site.layers), shapes, times, taken
