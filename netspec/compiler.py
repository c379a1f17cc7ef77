"""Builds the layers of a graph from their messages and finds every blob's shape."""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from google.protobuf.message import Message
from torch import fx, nn

from netspec import forks
from netspec.errors import SpecError
from netspec.graph import Graph, Node
from netspec.layers import LAYER_TYPES, Layer, LayerError, LayerType
from netspec.layers.base import LARGEST_COUNT, Count, Shape
from netspec.layers.sources import SOURCE_TYPES, Source, SourceContext
from netspec.schema.netspec_pb2 import TRAIN
from netspec.top_shapes import remember_shapes, top_shapes

_ALONE = SourceContext(TRAIN)
_RESERVED = fx.GraphModule(nn.Module(), fx.Graph())
"""Has every attribute that a layer's key must not hide."""


@dataclass(frozen=True)
class BuiltLayer:
    """A layer of the net: its place in the text, the key under which fx calls it, and its module."""

    node: Node
    key: str
    module: Layer


@dataclass
class Compiled:
    """A graph with its layers built: their blobs still on the meta device, their shapes known."""

    graph: Graph
    root: nn.Module = field(default_factory=nn.Module)
    layers: list[BuiltLayer] = field(default_factory=list)
    sources: list[tuple[Node, Source]] = field(default_factory=list)
    inputs: list[str] = field(default_factory=list)
    shapes: dict[str, Shape] = field(default_factory=dict)
    makers: dict[str, Layer] = field(default_factory=dict)
    loss_weights: dict[str, float] = field(default_factory=dict)
    allow_python: bool = False


def compile_graph(
    graph: Graph, given: dict[str, Shape], context: SourceContext = _ALONE, allow_python: bool = False
) -> Compiled:
    """Build every layer in order. `given` are shapes of inputs that stand in for the text's or the data's own; data is
    opened as `context` says, but for the phase and the places of files. Without `allow_python`, a layer that runs code
    of the user's is refused."""
    compiled = Compiled(graph, allow_python=allow_python)
    for node in graph.nodes:
        try:
            if is_input(node):
                shapes = list(_open_input(compiled, node, given, context))
            else:
                shapes = _build_layer(compiled, node)
            _refuse_huge(node, shapes)
        except LayerError as error:
            reason = layer_error(graph, node, error.reason, *error.field, wrong=error.wrong, known=error.known)
            raise reason from error.__cause__
        compiled.shapes.update(zip(node.tops, shapes, strict=True))
    remember_shapes()
    for name in set(given) - set(compiled.inputs):
        raise ValueError(f'shapes names "{name}", which is no input of this net ({", ".join(compiled.inputs)})')
    return compiled


def is_input(node: Node) -> bool:
    """Whether the tops of a layer are inputs of the net: it is an Input or a data layer."""
    return node.param.type == "Input" or node.param.type in SOURCE_TYPES


def _refuse_huge(node: Node, shapes: Iterable[Shape]) -> None:
    for name, shape in zip(node.tops, shapes, strict=True):
        if math.prod(shape) > LARGEST_COUNT:
            raise LayerError(f'the top "{name}" would have the shape {shape}, more than any memory holds', "top")


def layer_error(
    graph: Graph, node: Node, reason: str, *names: str, wrong: str = "", known: Iterable[str] = ()
) -> SpecError:
    """A SpecError about a layer, at a field inside it or at the layer itself."""
    return graph.document.error(f'layer "{node.name}": {reason}', *node.where, *names, wrong=wrong, known=known)


def field_holding(message: Message, value: object) -> tuple[str, ...]:
    """The path of the first field of a message that holds a value."""
    for descriptor, content in message.ListFields():
        if content == value:
            return (descriptor.name,)
        if isinstance(content, Message) and (inner := field_holding(content, value)):
            return (descriptor.name, *inner)
    return ()


def _open_input(compiled: Compiled, node: Node, given: dict[str, Shape], context: SourceContext) -> Iterable[Shape]:
    """The shapes of a layer that reads no blob: as given by the caller, by the text, or by its data."""
    _check_count(node, "bottom", len(node.bottoms), 0)
    _set_loss_weights(compiled, node)
    compiled.inputs += node.tops
    if node.tops and set(node.tops) <= set(given):
        return [given[top] for top in node.tops]
    if node.param.type in SOURCE_TYPES:
        shapes = _open_source(compiled, node, context)
    else:
        shapes = [tuple(shape.dim) for shape in node.param.input_param.shape]
        shapes *= len(node.tops) if len(shapes) == 1 else 1
        if len(shapes) != len(node.tops):
            raise LayerError(_shape_count(len(shapes), node), "input_param", "shape")
        if any(size < 0 for shape in shapes for size in shape):
            raise LayerError("a shape has a negative size", "input_param", "shape")
    return [given.get(top, shape) for top, shape in zip(node.tops, shapes, strict=True)]


def _shape_count(shapes: int, node: Node) -> str:
    tops = len(node.tops)
    if shapes == 0 < tops:
        return f'the shape of "{node.tops[0]}" is missing'
    return f"{_counted(shapes, 'shape')} for {_counted(tops, 'top')}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _open_source(compiled: Compiled, node: Node, context: SourceContext) -> list[Shape]:
    """Open the data behind a data layer and keep it for the net to draw from."""
    context = replace(context, phase=node.param.phase, find=_finder(compiled, node))
    source = SOURCE_TYPES[node.param.type](node.param, context)
    compiled.sources.append((node, source))
    _check_count(node, "top", len(node.tops), len(source.shapes))
    return list(source.shapes)


def _finder(compiled: Compiled, node: Node) -> Callable[[str], Path]:
    """What gives the place of a file that a layer's message names; LayerError where it is not there."""
    document = compiled.graph.document

    def find(name: str) -> Path:
        if not document.find(name).exists():
            beside = [f', nor is "{place}"' for place in document.places(name)[1:2] if str(place) != name]
            raise LayerError(f'"{name}" is not there{"".join(beside)}', *field_holding(node.param, name))
        return document.find(name)

    return find


def _build_layer(compiled: Compiled, node: Node) -> list[Shape]:
    """Build a layer and put it into the net; returns its tops' shapes."""
    layer_type = _layer_type(compiled, node)
    _check_count(node, "bottom", len(node.bottoms), layer_type.bottoms)
    _check_count(node, "top", len(node.tops), layer_type.tops)
    if len(node.param.propagate_down) not in (0, len(node.bottoms)):
        reason = f"{len(node.param.propagate_down)} propagate_down for {_counted(len(node.bottoms), 'bottom')}"
        raise LayerError(reason, "propagate_down")
    module, shapes = _build_module(compiled, node, layer_type)
    _check_in_place(compiled, node, module)
    _set_loss_weights(compiled, node, module.is_loss)
    maker = compiled.makers.get(node.bottoms[0]) if node.bottoms else None
    module.in_place = node.tops == node.bottoms and maker is not None and not maker.needs_top
    compiled.makers.update(dict.fromkeys(node.tops, module))
    key = free_key(compiled.root, node.name)
    compiled.root.add_module(key, module)
    compiled.layers.append(BuiltLayer(node, key, module))
    return shapes


def _layer_type(compiled: Compiled, node: Node) -> LayerType:
    """The type of a layer; SpecError where there is none of that name, or it runs code that is not allowed."""
    name, error = node.param.type, compiled.graph.document.error
    if name not in LAYER_TYPES:
        fork = forks.TYPES.get(name, "")
        reason = (f'there is no layer type "{name[:60]}"' if name else "the layer has no type") + forks.origin(fork)
        known = [] if fork else [*LAYER_TYPES, *SOURCE_TYPES, "Input"]
        raise error(reason, *node.where, "type", wrong=name, known=known)
    if LAYER_TYPES[name].runs_code and not compiled.allow_python:
        code = f'Python code from the module "{node.param.python_param.module[:60]}"'
        raise error(f"this layer runs {code}: allow it with --allow-python (allow_python=True)", *node.where)
    return LAYER_TYPES[name]


def _build_module(compiled: Compiled, node: Node, layer_type: LayerType) -> tuple[Layer, list[Shape]]:
    """A new layer, and its tops' shapes."""
    bottoms = [compiled.shapes[name] for name in node.bottoms]
    try:
        module = layer_type.build(node.param, bottoms).train(node.param.phase == TRAIN)
        module.open_files(_finder(compiled, node))
        return module, top_shapes(module, node.param, bottoms)
    except LayerError:
        raise
    except (RuntimeError, ValueError, IndexError, TypeError, OverflowError, ZeroDivisionError) as error:
        cause = "a top would be more than any memory holds" if "overflow" in str(error) else first_line(error)
        shapes = ", ".join(map(str, bottoms))
        raise LayerError(f"{node.param.type} cannot take bottoms of shape {shapes}: {cause}") from None


def free_key(root: nn.Module, name: str) -> str:
    """A layer's name as fx can call it: nothing that Python reads, no attribute of a module hidden, no name twice."""
    key = re.sub(r"[^\w/ -]", "_", name) or "layer"
    if hasattr(_RESERVED, key) or keyword.iskeyword(key):
        key += "_layer"
    while hasattr(root, key):
        key = f"{key}_{len(root._modules)}"
    return key


def _check_in_place(compiled: Compiled, node: Node, module: Layer) -> None:
    """Refuse in place what Caffe refuses: some types, and a top that counts toward the loss."""
    for top, bottom in zip(node.tops, node.bottoms, strict=False):
        if top == bottom and not module.allows_in_place:
            raise LayerError(f"{node.param.type} cannot work in place: give the top another name", "top")
        if top == bottom and top in compiled.loss_weights:
            raise LayerError(f'"{top}" counts toward the loss and cannot be changed in place', "top")


def _set_loss_weights(compiled: Compiled, node: Node, is_loss: bool = False) -> None:
    """Caffe's rule: a loss counts with 1 unless told; told, every top has its weight."""
    weights = list(node.param.loss_weight)
    if not weights and is_loss:
        if len(node.tops) > 1:
            raise LayerError(f"a loss with {len(node.tops)} tops needs one loss_weight for each", "top")
        weights = [1.0] * len(node.tops)
    if weights and len(weights) != len(node.tops):
        raise LayerError(f"{len(weights)} loss_weight for {_counted(len(node.tops), 'top')}", "loss_weight")
    compiled.loss_weights.update({top: weight for top, weight in zip(node.tops, weights, strict=False) if weight})


def _check_count(node: Node, what: str, count: int, allowed: Count) -> None:
    least, most = (allowed, allowed) if isinstance(allowed, int) else allowed
    if count < least or (most is not None and count > most):
        wanted = str(least) if least == most else f"{least} or more" if most is None else f"{least} to {most}"
        raise LayerError(f"{node.param.type} takes {wanted} {what}{'' if wanted == '1' else 's'}, not {count}", what)


def first_line(error: Exception) -> str:
    """The first line of what torch says, at most 120 characters of it."""
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
