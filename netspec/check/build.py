"""Builds a net in one phase as far as that can be done: past every layer that is refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from netspec.blobs import Param, allocate
from netspec.compiler import Compiled, compile_graph, field_holding, layer_error
from netspec.errors import DataError, SpecError
from netspec.fillers import FillerError
from netspec.graph import Graph, Node, build, net_state
from netspec.layers import LAYER_TYPES
from netspec.layers.sources import SOURCE_TYPES
from netspec.positions import FieldPath
from netspec.schema.netspec_pb2 import LayerParameter, NetParameter, NetState
from netspec.spec import Document
from netspec.summary import Summary, summarize

KNOWN_TYPES = [*LAYER_TYPES, *SOURCE_TYPES, "Input"]


@dataclass(frozen=True)
class State:
    """What chooses the layers of a phase, and the shapes that are given to its inputs."""

    phase: str
    stages: tuple[str, ...] = ()
    level: int = 0
    shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)


@dataclass
class Built:
    """A net in one phase: the layers that take part, what was refused of them, and what could be built.

    `left_out` are the layers that are not built, `unchecked` those that read what these make. `summary`, `compiled`
    and `params` are those of all the others.
    """

    state: State
    nodes: list[Node]
    errors: list[SpecError] = field(default_factory=list)
    left_out: list[Node] = field(default_factory=list)
    unchecked: list[Node] = field(default_factory=list)
    summary: Summary | None = None
    compiled: Compiled | None = None
    params: list[Param] = field(default_factory=list)


def unknown_types(document: Document[NetParameter]) -> dict[int, SpecError]:
    """What the compiler says of every layer of a type that is not there, by the layer's index."""
    errors = {}
    for index, layer in enumerate(document.message.layer):
        if layer.type in KNOWN_TYPES:
            continue
        try:
            compile_graph(Graph(document, NetState(), [Node(layer, ("layer", index))]), {})
        except SpecError as error:
            errors[index] = error
    return errors


def participants(document: Document[NetParameter], state: State) -> tuple[list[Node], dict[int, SpecError]]:
    """The layers that take part in a state, whether they fit together or not; by index, those whose rules are
    refused."""
    nodes, errors = [], {}
    for index, layer in enumerate(document.message.layer):
        alone = _part(document, {index: layer})
        del alone.message.layer[0].bottom[:]
        try:
            found = build(alone, net_state(state.phase, state.level, state.stages)).nodes
        except SpecError as error:
            errors[index] = error
            continue
        for node in found:
            node.param.bottom.extend(layer.bottom)
            nodes.append(Node(node.param, ("layer", index)))
    return nodes, errors


def build_phase(
    document: Document[NetParameter], state: State, nodes: list[Node], left_out: Iterable[int], silent: Iterable[int]
) -> Built:
    """Build the layers that take part, without those at the indices `left_out` and all that read what these make; each
    time that one is refused, again without it. Of those at the indices `silent` no error is told."""
    built, refused, silent, shapes = Built(state, nodes), set(left_out), set(silent), state.shapes
    while kept := _buildable(nodes, refused, shapes):
        try:
            _compile(built, _without(document, nodes, refused, kept))
            break
        except DataError as error:
            built.errors.append(SpecError(str(error), document.path))
            break
        except SpecError as error:
            guilty = _guilty(document, kept, error)
            if guilty not in silent:
                built.errors.append(error)
            if guilty in refused:  # it is the Input in place of the layer
                shapes = {}
            refused.add(guilty)
    built.left_out = [node for node in nodes if _index(node) in refused]
    built.unchecked = [node for node in nodes if _index(node) not in {*refused, *map(_index, kept)}]
    return built


def _buildable(nodes: list[Node], refused: set[int], shapes: Mapping[str, Sequence[int]]) -> list[Node]:
    """The layers that read nothing of what the refused ones make, at whatever distance. In place of a refused layer
    stands an Input for those of its tops whose shapes are given."""
    lost: set[str] = set()
    kept = []
    for node in nodes:
        if _index(node) in refused:
            given = [top for top in own_tops(node) if top in shapes]
            kept += [Node(LayerParameter(name=node.name, type="Input", top=given), node.where)] if given else []
            lost = (lost | set(node.tops)) - set(given)
        elif lost & set(node.bottoms):
            lost |= set(node.tops)
        else:
            kept.append(node)
            lost -= set(node.tops)
    return kept


def own_tops(node: Node) -> list[str]:
    """The tops of a layer that are no bottoms changed in place."""
    return [top for top in node.tops if top not in node.bottoms]


def _without(
    document: Document[NetParameter], nodes: list[Node], refused: set[int], kept: list[Node]
) -> Document[NetParameter]:
    """The document of the layers that can be built. Those that take no part stay: errors name them."""
    gone = {*refused, *map(_index, nodes)} - {*map(_index, kept)}
    inputs = {_index(node): node.param for node in kept if _index(node) in refused}
    layers = enumerate(document.message.layer)
    return _part(document, {index: inputs.get(index, layer) for index, layer in layers if index not in gone})


def _compile(built: Built, part: Document[NetParameter]) -> None:
    """Build what is left of a net, and check what only a run with memory for its blobs would."""
    state = built.state
    graph = build(part, net_state(state.phase, state.level, state.stages))
    inputs = [top for node in graph.nodes if not node.bottoms for top in node.tops]
    given = {name: shape for name, shape in state.shapes.items() if name in inputs}
    summary = summarize(part, state.phase, stages=state.stages, level=state.level, shapes=given)
    compiled = compile_graph(graph, summary.inputs)
    built.errors += _filler_errors(compiled)
    # Blobs that are lent need no memory, but must have their names and multipliers right.
    lent = {layer.node.name: layer.module.blobs() for layer in reversed(compiled.layers)}
    built.params = allocate(compiled, torch.device("meta"), lent)
    built.compiled, built.summary = compiled, summary


def _filler_errors(compiled: Compiled) -> Iterator[SpecError]:
    """What is wrong with the fillers. Filling meta tensors takes no memory and no time."""
    for layer in compiled.layers:
        for name, blob in zip(layer.module.blob_names, layer.module.blobs(), strict=True):
            filler = layer.module.blob_fillers[name]
            try:
                layer.module.fill_blob(name, torch.empty(blob.shape, device="meta"))
            except FillerError as error:
                field = field_holding(layer.node.param, filler)
                yield layer_error(compiled.graph, layer.node, str(error), *field, *(error.field if field else ()))
            except (RuntimeError, NotImplementedError):  # a filler that reads numbers, which meta tensors lack
                continue


def _part(document: Document[NetParameter], layers: Mapping[int, LayerParameter]) -> Document[NetParameter]:
    """The document of some layers, by the indices at which errors show them in the text."""
    net = NetParameter(layer=layers.values())
    return Document(net, document.text, document.path, document.prefix, _moved(document, list(layers)))


def _moved(document: Document[NetParameter], indices: list[int]) -> dict[FieldPath, FieldPath]:
    """The origins of some layers that now stand one after the other."""
    new = {old: index for index, old in enumerate(indices)}
    origins: dict[FieldPath, FieldPath] = {("layer", index): ("layer", old) for old, index in new.items()}
    for path, origin in document.origins.items():
        if path[:1] == ("layer",) and path[1] in new:
            place: FieldPath = ("layer", new[int(path[1])])
            origins[place + path[2:]] = origin
    return origins


def _guilty(document: Document[NetParameter], kept: list[Node], error: SpecError) -> int:
    """The index of the layer that an error is about: the last one that begins before it."""
    places = {document.position(*node.where): _index(node) for node in kept}
    before = [place for place in places if place <= (error.line, error.column)]
    return places[max(before)] if before else _index(kept[0])


def _index(node: Node) -> int:
    return int(node.where[1])
