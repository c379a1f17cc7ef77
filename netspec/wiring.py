"""Chains the layers of a compiled net into a torch.fx GraphModule: one call a layer."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import fx

from netspec.compiler import Compiled
from netspec.graph import Node


@dataclass(frozen=True)
class Wired:
    """A GraphModule that computes some blobs and nothing else, and the inputs it takes, in order."""

    module: fx.GraphModule
    inputs: list[str]


def wire(compiled: Compiled, blobs: tuple[str, ...]) -> Wired:
    """Wire the layers that `blobs` need. A layer that works in place rebinds the blob's name: a later reader sees
    its result, autograd keeps what it needs. The module returns a dict of the blobs."""
    graph = fx.Graph()
    inputs = {name: graph.placeholder(argument) for name, argument in _arguments(compiled.inputs).items()}
    values = dict(inputs)
    for layer in compiled.layers:
        result = graph.call_module(layer.key, _bottoms(graph, layer.node, values))
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


def _bottoms(graph: fx.Graph, node: Node, values: Mapping[str, fx.Node]) -> tuple[fx.Node, ...]:
    """What a layer reads. No gradient flows back into a bottom whose `propagate_down` is false."""
    flows = node.param.propagate_down or [True] * len(node.bottoms)
    read = [values[name] for name in node.bottoms]
    return tuple(v if flow else graph.call_method("detach", (v,)) for v, flow in zip(read, flows, strict=True))


def _arguments(inputs: Iterable[str]) -> dict[str, str]:
    """What Python may call each input, by its blob's name."""
    arguments: dict[str, str] = {}
    for name in inputs:
        argument = "in_" + re.sub(r"\W", "_", name)
        while argument in arguments.values():
            argument += "_"
        arguments[name] = argument
    return arguments
