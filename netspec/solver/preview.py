"""What a run will be, said before its first iteration."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator

from torch import Tensor

from netspec.costs import BYTES, memory_of, readable_size
from netspec.files import free_on_disk
from netspec.log import logger
from netspec.net import Net
from netspec.solver.rates import learning_rate
from netspec.solver.snapshot import files_of
from netspec.solver.solver import Solver


def preview(solver: Solver) -> Iterator[str]:
    """One line a subject, about the run from here to max_iter; the last is of a pass through every net, which changes
    no weight that is learned. Warns in the log where the disk has too little room."""
    for subject, text in _subjects(solver):
        yield f"{subject:12}{text}"


def _subjects(solver: Solver) -> Iterator[tuple[str, str]]:
    param = solver.param
    yield "solver", f"{solver.document.path}: {param.type}, iterations {solver.iter} to {param.max_iter}"
    for index, net in enumerate([solver.net, *solver.test_nets]):
        kind = f"test net {index - 1}" if index else "train net"
        yield kind, f"{net.graph.name or 'without a name'}: {_inputs(net) or 'no inputs'}"
        yield from (("data", line) for line in _data(net, solver))
    passes = _passes(solver)  # first, since it freezes what is frozen
    yield "parameters", _params(solver)
    yield "memory", _memory(solver)
    yield "rate", _rates(solver)
    yield from (("tests", line) for line in _tests(solver))
    yield "snapshots", _snapshots(solver)
    yield "iteration", passes


def _inputs(net: Net) -> str:
    """The inputs of a net: what comes from outside or from its data layers."""
    kinds = {id(node) for node, _ in net.sources}
    tops = [top for node in net.graph.nodes if id(node) in kinds or node.param.type == "Input" for top in node.tops]
    return ", ".join(f"{top} {'x'.join(map(str, net.blob_shapes[top]))}" for top in tops)


def _data(net: Net, solver: Solver) -> Iterator[str]:
    for node, source in net.sources:
        if source.epoch_size:
            batch = source.shapes[0][0]
            line = f"{node.name}: {source.epoch_size:,} records, {source.epoch_size / batch:,.6g} batches of {batch}"
            epoch = source.epoch_size / batch / solver.param.iter_size
            epochs = f"; an epoch is {epoch:,.6g} iterations, max_iter {solver.param.max_iter / epoch:,.4g} epochs"
            yield line + epochs * (net is solver.net)


def _params(solver: Solver) -> str:
    learned = sum(param.tensor.numel() for param in solver.net.params if param.tensor.requires_grad)
    frozen = sum(param.tensor.numel() for param in solver.net.params) - learned
    return f"{learned:,} learned, {frozen:,} frozen or statistics at iteration {solver.iter}"


def _memory(solver: Solver) -> str:
    """What is held at once: a net's blobs are kept for its backward pass, and their gradients are about as large."""
    weights = _size(param.tensor for param in solver.net.params)
    held = {
        "weights": weights * (2 if solver.average else 1),
        "gradients": _size(solver.update.weights),
        "history": _size(solver.update.history),
        "blobs": max(_size_of_blobs(net) for net in (solver.net, *solver.test_nets)),
    }
    parts = ", ".join(f"{name} {readable_size(size)}" for name, size in held.items())
    total, has = readable_size(sum(held.values())), readable_size(memory_of(solver.device))
    return f"at least {total} ({parts}); {solver.device} has {has}"


def _size(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors) * BYTES


def _size_of_blobs(net: Net) -> int:
    return sum(math.prod(shape) for shape in net.blob_shapes.values()) * BYTES


def _rates(solver: Solver) -> str:
    param, last = solver.param, max(solver.param.max_iter - 1, solver.iter)
    rates = f"{solver.rate:.6g} at iteration {solver.iter}"
    if param.lr_policy == "plateau":
        return f"{rates}, then as the tests say ({param.lr_policy} of {param.watch})"
    return f"{rates}, {learning_rate(param, last):.6g} at {last} ({param.lr_policy})"


def _tests(solver: Solver) -> Iterator[str]:
    param = solver.param
    for index, net in enumerate(solver.test_nets):
        count = param.test_iter[index] if index < len(param.test_iter) else None
        seen = "every record once" if count is None else f"{count} batches"
        yield f"net {index}, {seen}, every {param.test_interval} iterations: {', '.join(net.outputs)}"
    if not solver.test_nets:
        yield "none"


def _snapshots(solver: Solver) -> str:
    """Where the snapshots go, how many there will be at a time, and whether the disk has room for them."""
    param = solver.param
    files = files_of(solver.prefix, param.max_iter, param.snapshot_format)
    weights = _size(blob for blobs in solver.net.layer_params.values() for blob in blobs)
    size = weights * (2 if solver.average else 1) + _size(solver.update.history)
    count = _written(solver)
    # A new one is written before the oldest goes; the best one so far is one more of either.
    kept = min(count, param.snapshot_keep + 1 if param.snapshot_keep else count) + 2 * param.snapshot_best
    free = free_on_disk(files.state)
    if kept * size > free:
        room = f"{readable_size(kept * size)} for {kept} snapshots, {readable_size(free)} are free"
        logger.warning("%s: the disk has too little room: %s; snapshot_keep keeps fewer", files.state.parent, room)
    every = f"every {param.snapshot} iterations" if param.snapshot else "none on the way"
    sizes = f"up to {kept} of {readable_size(size)} at a time, {readable_size(free)} free"
    return f"{files.state}, {every}; {sizes}"


def _written(solver: Solver) -> int:
    """How many snapshots a run that goes to max_iter writes, the best ones not counted."""
    first, last, interval = solver.iter, solver.param.max_iter, solver.param.snapshot
    count = last // interval - first // interval if interval else 0
    return count + (solver.param.snapshot_after_train and last > first and not (interval and last % interval == 0))


def _passes(solver: Solver) -> str:
    """An iteration without its update, twice since the first is slower, and a batch through every test net."""
    solver.rehearse()
    begun = time.perf_counter()
    loss = solver.rehearse()
    seconds = time.perf_counter() - begun
    for net in solver.test_nets:
        net()
    left = seconds * (solver.param.max_iter - solver.iter)
    return f"{seconds:.3g} s, so that all take about {_duration(left)} without tests; loss {loss:.6g}"


def _duration(seconds: float) -> str:
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} seconds"
