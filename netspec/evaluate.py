"""Runs a test net over its data and takes the mean of its outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from netspec.net import Net

Run = Callable[..., Mapping[str, Tensor]]
"""What is called as a net is."""


@torch.no_grad()
def evaluate(
    net: Net,
    iterations: int | None = None,
    stop: Callable[[], object] = lambda: None,
    run: Run | None = None,
) -> dict[str, list[float]]:
    """The mean of every output, flattened, by name.

    With `iterations`, over that many batches from where the data layer stands, as in Caffe; without, over every
    record exactly once: each batch weighs by its records, outputs with a row a record (two axes or more) are taken
    row by row, and labels that nobody reads are left out. Ends early once `stop` says so. `run` is called in
    place of the net. SpecError where the net has no one data layer to run over.
    """
    given_by_hand = any(node.param.type == "Input" for node in net.graph.nodes)
    if not net.sources and (iterations is None or given_by_hand):
        raise net.graph.document.error("there is nothing to run over: the net has no data layer")
    sums: dict[str, Tensor] = {}
    total = 0
    run = run or net
    for count, out in _batches(net, run) if iterations is None else ((1, run()) for _ in range(iterations)):
        if stop():
            break
        total += count
        for name, top in out.items():
            # In double precision: a mean over 10,000 single-precision sums would lose digits that users compare.
            top = top.detach().double()
            value = top.sum(0).flatten() if iterations is None and top.dim() > 1 else top.flatten() * count
            sums[name] = sums[name] + value if name in sums else value
    return {name: (value / max(total, 1)).tolist() for name, value in sums.items()}


def _batches(net: Net, run: Run) -> Iterator[tuple[int, Mapping[str, Tensor]]]:
    """The number of records and the outputs of every batch of a whole pass."""
    if len(net.sources) != 1:
        reason = f"a pass over every record needs one data layer, this net has {len(net.sources)}"
        raise net.graph.document.error(reason)
    node, source = net.sources[0]
    blobs = [name for name in net.outputs if name not in node.tops]
    for tensors in source.once():
        yield len(tensors[0]), run(blobs=blobs, **dict(zip(node.tops, tensors, strict=True)))
