"""Times the layers of a net and the net as a whole, and holds them against the limits of the machine."""

from __future__ import annotations

import statistics
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

from netspec.log import logger
from netspec.net import Net
from netspec.timing.clock import clock_of
from netspec.timing.limits import Rates, measure_rates
from netspec.timing.passes import BACKWARD, FORWARD, LayerPasses, run_whole
from netspec.timing.work import LayerWork, Work, survey

_WARM_UP = 2  # iterations that do not count


@dataclass(frozen=True)
class Times:
    """The seconds of a pass in every iteration; none where there is no such pass, which then takes 0."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """What an iteration takes, whatever else the machine does now and then."""
        return statistics.median(self.seconds or (0.0,))

    @property
    def mean(self) -> float:
        """What Caffe shows."""
        return statistics.fmean(self.seconds or (0.0,))


_NEVER = Times(())
_NOTHING = LayerWork(Work(), Work())


@dataclass(frozen=True)
class LayerTime:
    """A layer: the times of its passes, the least seconds that they could take on this machine, and whether that is
    bound by copies rather than by arithmetic."""

    name: str
    type: str
    forward: Times
    backward: Times
    least: float
    is_bound_by_copies: bool

    @property
    def total(self) -> float:
        """Seconds of both passes."""
        return self.forward.median + self.backward.median

    @property
    def share_of_limit(self) -> float:
        """The least time over the measured one: 1 at the limit, above it where blobs stay in caches."""
        return self.least / self.total if self.total else 0.0


@dataclass(frozen=True)
class Timing:
    """A net: its layers in order, the times of the passes of the whole net, and the rates that the shares are of."""

    layers: list[LayerTime]
    forward: Times
    backward: Times
    rates: Rates

    @property
    def total(self) -> float:
        """Seconds of an iteration of the whole net."""
        return self.forward.median + self.backward.median

    @property
    def layers_total(self) -> float:
        """Seconds of all layers one by one."""
        return sum(layer.total for layer in self.layers)

    @property
    def slowest(self) -> list[LayerTime]:
        """The layers by their time, the slowest first."""
        return sorted(self.layers, key=lambda layer: -layer.total)


def time_net(net: Net, inputs: Mapping[str, Tensor], iterations: int) -> Timing:
    """The times of some iterations, after two that do not count. In turn the net runs layer by layer and as it is."""
    works, rates = survey(net, inputs), measure_rates(net.device, net.precision)
    for _ in range(_WARM_UP):
        _iteration(net, inputs)
    logger.info("*** Benchmark begins ***")
    logger.info("Testing for %d iterations.", iterations)
    seconds: dict[Hashable, list[float]] = {}
    for iteration in range(iterations):
        taken = _iteration(net, inputs)
        for key, one in taken.items():
            seconds.setdefault(key, []).append(one)
        both = taken[FORWARD] + taken.get(BACKWARD, 0.0)
        logger.info("Iteration: %d forward-backward time: %.6g ms.", iteration + 1, 1000 * both)
    times = {key: Times(tuple(every)) for key, every in seconds.items()}
    rates = rates.best(measure_rates(net.device, net.precision))
    layers = list(_layer_times(net, works, times, rates))
    return Timing(layers, times[FORWARD], times.get(BACKWARD, _NEVER), rates)


def _iteration(net: Net, inputs: Mapping[str, Tensor]) -> dict[Hashable, float]:
    """The seconds of every layer's passes, by its key and the pass, and of the whole net's, by the pass."""
    clock = clock_of(net.device)
    LayerPasses(net, inputs, clock).run()
    run_whole(net, inputs, clock)
    return clock.seconds


def _layer_times(
    net: Net, works: Mapping[str, LayerWork], times: Mapping[Hashable, Times], rates: Rates
) -> Iterator[LayerTime]:
    for layer in net.compiled.layers:
        work = works.get(layer.key, _NOTHING)  # a layer that nobody reads is not run
        forward, backward = (times.get((layer.key, name), _NEVER) for name in (FORWARD, BACKWARD))
        passes = [work.forward, *([work.backward] if backward.seconds else [])]
        computing = sum(rates.computing_seconds(one) for one in passes)
        moving = sum(rates.moving_seconds(one) for one in passes)
        least = sum(rates.least_seconds(one) for one in passes)
        yield LayerTime(layer.node.name, layer.node.param.type, forward, backward, least, moving > computing)
