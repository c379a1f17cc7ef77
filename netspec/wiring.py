"""Chains the layers of a compiled net into a torch.fx GraphModule: one call a layer."""

from __future__ import annotations

import operator
from dataclasses import dataclass

from torch import fx

from netspec.compiler import Compiled


@dataclass(frozen=True)
class Wired:
    """A GraphModule that computes some blobs and nothing else, and the inputs it takes, in order."""

    module: fx.GraphModule
    inputs: list[str]


def wire(compiled: Compiled, blobs: tuple[str, ...]) -> Wired:
    """Wire the layers that `blobs` need. A layer that works in place rebinds the blob's name: a later reader sees
    its result, autograd keeps what it needs. The module returns a dict of the blobs."""
    graph = fx.Graph()
    inputs = {name: graph.placeholder(f"in_{name}") for name in compiled.inputs}
    values = dict(inputs)
    for layer in compiled.layers:
        result = graph.call_module(layer.key, tuple(values[name] for name in layer.node.bottoms))
        tops = layer.node.tops
        if len(tops) == 1:
            values[tops[0]] = result
        else:
            items = [graph.call_function(operator.getitem, (result, index)) for index in range(len(tops))]
            values.update(zip(tops, items, strict=True))
    graph.output({name: values[name] for name in blobs})
    for node in reversed(graph.nodes):
        if node.op != "output" and not node.users:
            graph.erase_node(node)
    kept = set(graph.nodes)
    return Wired(fx.GraphModule(compiled.root, graph), [name for name in inputs if inputs[name] in kept])
