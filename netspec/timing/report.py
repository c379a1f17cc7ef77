"""A timing in words: a table, Caffe's log lines, and data for JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch

from netspec.columns import aligned
from netspec.log import logger
from netspec.net import Net
from netspec.schema.netspec_pb2 import Precision
from netspec.summary import Summary
from netspec.timing.limits import Rates
from netspec.timing.measure import LayerTime, Times, Timing

_SLOWEST = 5  # layers in the second table
_LONGEST_NAME, _LONGEST_TYPE = 40, 20


def report(net: Net, summary: Summary, timing: Timing) -> str:
    """The timing as lines of text of at most 120 characters: the layers, the totals, the slowest, items a second."""
    lines = [f"{_setting(net, summary)}, median of {len(timing.forward.seconds)} iterations", _limits(timing.rates), ""]
    lines += _table(timing)
    if any(layer.share_of_limit > 1 for layer in timing.layers):
        lines += [
            "",
            "above 100%: caches are faster than the copy, or the machine was busy as its limits were measured",
        ]
    lines += ["", "where the time is", *_where(timing), "", *_speeds(summary, timing)]
    return "\n".join(lines)


def log_as_caffe(timing: Timing) -> None:
    """Log the means in the words of `caffe time`."""
    logger.info("Average time per layer: ")
    for layer in timing.layers:
        logger.info("%10s\tforward: %.6g ms.", layer.name, 1000 * layer.forward.mean)
        logger.info("%10s\tbackward: %.6g ms.", layer.name, 1000 * layer.backward.mean)
    both = timing.forward.mean + timing.backward.mean
    logger.info("Average Forward pass: %.6g ms.", 1000 * timing.forward.mean)
    logger.info("Average Backward pass: %.6g ms.", 1000 * timing.backward.mean)
    logger.info("Average Forward-Backward: %.6g ms.", 1000 * both)
    logger.info("Total Time: %.6g ms.", 1000 * both * len(timing.forward.seconds))
    logger.info("*** Benchmark ends ***")


def as_data(net: Net, summary: Summary, timing: Timing) -> dict[str, Any]:
    """The timing as JSON has it; medians in milliseconds, None for a pass that there is not."""
    rates = timing.rates
    return {
        "net": summary.title,
        "device": str(net.device),
        "precision": Precision.Kind.Name(net.precision),
        "threads": torch.get_num_threads(),
        "batch": list(summary.batch),
        "iterations": len(timing.forward.seconds),
        "limits": {
            "product_gflops": rates.product / 1e9,
            "convolution_gflops": rates.convolution / 1e9,
            "copy_gb_per_s": rates.copy / 1e9,
        },
        "layers": [_layer_data(layer, timing) for layer in timing.layers],
        "layers_ms": 1000 * timing.layers_total,
        "forward_ms": _milliseconds(timing.forward),
        "backward_ms": _milliseconds(timing.backward),
        "forward_backward_ms": 1000 * timing.total,
        "items_per_s": math.prod(summary.batch) / timing.total,
    }


def _layer_data(layer: LayerTime, timing: Timing) -> dict[str, Any]:
    return {
        "name": layer.name,
        "type": layer.type,
        "forward_ms": _milliseconds(layer.forward),
        "backward_ms": _milliseconds(layer.backward),
        "share_of_total": layer.total / timing.layers_total,
        "least_ms": 1000 * layer.least,
        "share_of_limit": layer.share_of_limit,
        "bound_by": _bound(layer),
    }


def _setting(net: Net, summary: Summary) -> str:
    threads = torch.get_num_threads()
    place = f"cpu, {threads} thread{'' if threads == 1 else 's'}" if net.device.type == "cpu" else str(net.device)
    return f"{summary.title}, batch {_batch(summary)}, {Precision.Kind.Name(net.precision)} on {place}"


def _batch(summary: Summary) -> str:
    return "x".join(map(str, summary.batch))


def _limits(rates: Rates) -> str:
    return (
        f"limits of this machine: matrix product {rates.product / 1e9:,.0f} GFLOP/s, "
        f"convolution {rates.convolution / 1e9:,.0f} GFLOP/s, copy {rates.copy / 1e9:,.1f} GB/s"
    )


def _table(timing: Timing) -> Iterator[str]:
    """A line a layer, then the layers together, and the net as it runs in one piece."""
    rows: list[tuple[str, ...]] = [("layer", "type", "forward ms", "backward ms", "of total", "of limit", "bound by")]
    rows += [_row(layer, timing) for layer in timing.layers]
    least = sum(layer.least for layer in timing.layers)
    one_by_one = [sum(getattr(layer, name).median for layer in timing.layers) for name in ("forward", "backward")]
    in_one = [timing.forward.median, timing.backward.median]
    for name, (forward, backward) in (("all layers", one_by_one), ("whole net", in_one)):
        shown = f"{1000 * backward:.3f}" if timing.backward.seconds else ""
        rows.append((name, "", f"{1000 * forward:.3f}", shown, "", _percent(least, forward + backward), ""))
    return aligned(rows, right=(2, 3, 4, 5))


def _row(layer: LayerTime, timing: Timing) -> tuple[str, ...]:
    return (
        _cut(layer.name, _LONGEST_NAME),
        _cut(layer.type, _LONGEST_TYPE),
        _shown(layer.forward),
        _shown(layer.backward),
        _percent(layer.total, timing.layers_total),
        _percent(layer.least, layer.total) if layer.least else "",
        _bound(layer),
    )


def _where(timing: Timing) -> Iterator[str]:
    rows = []
    for layer in timing.slowest[:_SLOWEST]:
        could = f"{1000 * layer.least:.3f} at the limit" if layer.least else ""
        share = _percent(layer.total, timing.layers_total)
        rows.append((f"  {_cut(layer.name, _LONGEST_NAME)}", share, f"{1000 * layer.total:.3f} ms", could))
    return aligned(rows, right=(1, 2, 3))


def _speeds(summary: Summary, timing: Timing) -> Iterator[str]:
    items = math.prod(summary.batch)
    unit = {"an image": "images", "an item": "items"}.get(summary.item, "timesteps of streams")
    yield f"forward {items / timing.forward.median:,.1f} {unit}/s"
    if timing.backward.seconds:
        yield f"forward and backward {items / timing.total:,.1f} {unit}/s"


def _bound(layer: LayerTime) -> str:
    return "" if not layer.least else "copies" if layer.is_bound_by_copies else "arithmetic"


def _milliseconds(times: Times) -> float | None:
    return 1000 * times.median if times.seconds else None


def _shown(times: Times) -> str:
    return f"{1000 * times.median:.3f}" if times.seconds else ""


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f}%" if whole else ""


def _cut(name: str, longest: int) -> str:
    """A long name without its middle."""
    half = longest // 2 - 1
    return name if len(name) <= longest else f"{name[:half]}..{name[-half:]}"
