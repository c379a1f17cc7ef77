"""Chains the layers of a compiled net into a torch.fx GraphModule: one call a layer."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from torch import fx

from netspec.compiler import BuiltLayer, Compiled
from netspec.forms import Site


@dataclass(frozen=True)
class Wired:
    """A GraphModule that computes some blobs and nothing else, the inputs it takes, in order, and those of them that
    get a gradient although nothing below them learns."""

    module: fx.GraphModule
    inputs: list[str]
    forced: list[str]


def wire(
    compiled: Compiled, blobs: tuple[str, ...], forms: Mapping[str, Site] | None = None, in_16_bits: bool = False
) -> Wired:
    """Wire the layers that `blobs` need, and those with an effect of their own that need no further inputs, or all
    of these where the blobs are all that the net puts out. A layer that works in place rebinds the blob's name: a
    later reader sees its result, autograd keeps what it needs. The module returns a dict of the blobs.

    `forms` are modules of the net that compute the layers of a site; each is used unless it would hide a blob that is
    asked for. Of two that share a layer the first one is.

    A pass `in_16_bits` gives float32 to layers that do not take 16 bits, and to the caller."""
    graph = fx.Graph()
    inputs = {name: graph.placeholder(argument) for name, argument in _arguments(compiled.inputs).items()}
    values, effects = dict(inputs), []
    forced: set[fx.Node] = set()
    for key, reads, layer in _calls(compiled, blobs, forms or {}):
        bottoms = []
        for reader, index in reads:
            name = reader.node.bottoms[index]
            flow = _gradient_flows(compiled, reader, index)
            forced |= {values[name]} if flow else set()
            bottoms.append(graph.call_method("detach", (values[name],)) if flow is False else values[name])
        if in_16_bits and not getattr(compiled.root.get_submodule(key), "takes_16_bits", False):
            bottoms = [graph.call_method("float", (bottom,)) for bottom in bottoms]
        result = graph.call_module(key, tuple(bottoms))
        effects += [result] if layer.module.has_effect else []
        _bind(graph, layer.node.tops, result, values)
    whole = set(compiled.graph.outputs) - set(compiled.inputs) <= set(blobs)
    results = {name: graph.call_method("float", (values[name],)) if in_16_bits else values[name] for name in blobs}
    kept = _needed(graph.output(results), effects, whole)
    for node in reversed(graph.nodes):
        if node not in kept:
            graph.erase_node(node)
    used = [name for name in inputs if inputs[name] in kept]
    return Wired(fx.GraphModule(compiled.root, graph), used, [name for name in used if inputs[name] in forced])


def _calls(
    compiled: Compiled, blobs: tuple[str, ...], forms: Mapping[str, Site]
) -> Iterator[tuple[str, list[tuple[BuiltLayer, int]], BuiltLayer]]:
    """What is called in order: the key of the module, what it reads, each as a layer and the place among its bottoms,
    and the layer whose tops it makes. A form is called where the last of its layers stands."""
    called: dict[str, tuple[str, Site]] = {}
    covered = set[str]()
    for key, site in forms.items():
        if not (site.hidden & set(blobs) or site.keys & covered):
            called[site.layers[-1].key] = key, site
            covered |= site.keys
    for layer in compiled.layers:
        if layer.key in called:
            key, site = called[layer.key]
            yield key, site.reads, layer
        elif layer.key not in covered:
            yield layer.key, [(layer, place) for place in range(len(layer.node.bottoms))], layer


def _gradient_flows(compiled: Compiled, layer: BuiltLayer, bottom: int) -> bool | None:
    """Whether a layer sends a gradient into a bottom: True at any rate, None where something below learns, False
    never. `force_backward` goes before `propagate_down: false`, as in Caffe."""
    if compiled.graph.document.message.force_backward and bottom != layer.module.unforced:
        return True
    return bool(layer.node.param.propagate_down[bottom]) if layer.node.param.propagate_down else None


def _bind(graph: fx.Graph, tops: tuple[str, ...], result: fx.Node, values: dict[str, fx.Node]) -> None:
    """Put a layer's result under the names of its tops."""
    if len(tops) == 1:
        values[tops[0]] = result
    else:
        items = [graph.call_function(operator.getitem, (result, index)) for index in range(len(tops))]
        values.update(zip(tops, items, strict=True))


def _needed(output: fx.Node, effects: Iterable[fx.Node], whole: bool) -> set[fx.Node]:
    """The nodes that the output needs, and the layers with an effect: all in a whole pass, else those that need no
    other inputs than it."""
    kept = _above(output)
    inputs = {node for node in kept if node.op == "placeholder"}
    for effect in effects:
        above = _above(effect)
        if whole or {node for node in above if node.op == "placeholder"} <= inputs:
            kept |= above
    return kept


def _above(node: fx.Node) -> set[fx.Node]:
    """A node and all that it is computed from."""
    found, open_nodes = {node}, [node]
    while open_nodes:
        new = set(open_nodes.pop().all_input_nodes) - found
        found |= new
        open_nodes += new
    return found


def _arguments(inputs: Iterable[str]) -> dict[str, str]:
    """What Python may call each input, by its blob's name."""
    arguments: dict[str, str] = {}
    for name in inputs:
        argument = "in_" + re.sub(r"\W", "_", name)
        while argument in arguments.values():
            argument += "_"
        arguments[name] = argument
    return arguments
