"""Which layers of a net file take part, and which blob each one reads and writes: plain data, no torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from google.protobuf import text_format

from netspec.errors import SpecError, nearest
from netspec.positions import FieldPath
from netspec.schema.netspec_pb2 import TEST, TRAIN, LayerParameter, NetParameter, NetState, NetStateRule, Phase
from netspec.spec import Document

PHASES: dict[str, Phase] = {"TRAIN": TRAIN, "TEST": TEST}


@dataclass(frozen=True)
class Node:
    """One layer that takes part: its message (with `phase` set) and where it stands in the text."""

    param: LayerParameter
    where: FieldPath

    @property
    def name(self) -> str:
        return self.param.name

    @property
    def bottoms(self) -> tuple[str, ...]:
        return tuple(self.param.bottom)

    @property
    def tops(self) -> tuple[str, ...]:
        return tuple(self.param.top)


@dataclass(frozen=True)
class Graph:
    """The layers of one phase in their order, checked; `outputs` are the tops that nobody reads, sorted as in Caffe."""

    document: Document[NetParameter]
    state: NetState
    nodes: list[Node] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.document.message.name


def net_state(phase: str | Phase, level: int = 0, stages: Iterable[str] = ()) -> NetState:
    """The state that the rules of a net file are held against."""
    if isinstance(phase, str):
        if phase not in PHASES:
            raise ValueError(f'phase "{phase}" is neither TRAIN nor TEST')
        phase = PHASES[phase]
    return NetState(phase=phase, level=level, stage=list(stages))


def joined_state(
    document: Document[NetParameter], phase: str | Phase, level: int = 0, stages: Iterable[str] = ()
) -> NetState:
    """The state of a net in a phase: as in Caffe, the stages that its text names count beside the given ones, and its
    level where none is given."""
    own = document.message.state
    return net_state(phase, level or own.level, [*own.stage, *stages])


def build(document: Document[NetParameter], state: NetState) -> Graph:
    """Filter the layers by phase, level and stage and follow every blob; SpecError where they do not fit together."""
    nodes = []
    for index, param in enumerate(document.message.layer):
        if _takes_part(document, index, param, state):
            own = LayerParameter()
            own.CopyFrom(param)
            own.phase = state.phase
            if not own.top and own.type.endswith("Loss"):
                own.top.append(_automatic_top(document, own.name))
            nodes.append(Node(own, ("layer", index)))
    return Graph(document, state, nodes, _follow_blobs(document, nodes))


def _automatic_top(document: Document[NetParameter], layer: str) -> str:
    """The top of a loss for which the text names none, as old texts may: the layer's name, unless a blob has it."""
    taken = {top for param in document.message.layer for top in param.top}
    return layer if layer not in taken else f"{layer}_loss"


def _takes_part(document: Document[NetParameter], index: int, param: LayerParameter, state: NetState) -> bool:
    """Caffe's rule: with `include` any of them must be met, otherwise no `exclude` may be."""
    if param.include and param.exclude:
        raise document.error("a layer has include rules or exclude rules, not both", "layer", index, "exclude")
    if param.include:
        return any(_meets(state, rule) for rule in param.include)
    return not any(_meets(state, rule) for rule in param.exclude)


def unheard_stages(net: NetParameter, state: NetState) -> Iterator[str]:
    """The stages of a state that no rule of a net's layers asks about, each in words."""
    rules = [rule for layer in net.layer for rule in (*layer.include, *layer.exclude)]
    asked = {stage for rule in rules for stage in (*rule.stage, *rule.not_stage)}
    for stage in state.stage:
        if stage not in asked:
            hint = nearest(stage, asked)
            yield f'no layer asks for the stage "{stage}"' + (f": {hint}" if hint else "")


def _meets(state: NetState, rule: NetStateRule) -> bool:
    """Whether a state meets all that a rule demands: phase, levels, every stage, none of the not_stages."""
    return (
        (not rule.HasField("phase") or rule.phase == state.phase)
        and (not rule.HasField("min_level") or state.level >= rule.min_level)
        and (not rule.HasField("max_level") or state.level <= rule.max_level)
        and set(rule.stage) <= set(state.stage)
        and not set(rule.not_stage) & set(state.stage)
    )


@dataclass
class _Blob:
    """One value under a blob's name, until an in-place layer puts another there."""

    producer: Node
    readers: list[Node] = field(default_factory=list)


def _follow_blobs(document: Document[NetParameter], nodes: list[Node]) -> list[str]:
    """Check that every bottom has a producer and every top just one; return the names that nobody reads at the end."""
    blobs: dict[str, _Blob] = {}
    for node in nodes:
        for index, bottom in enumerate(node.bottoms):
            if bottom not in blobs:
                raise _unknown_bottom(document, node, index, nodes, blobs)
            blobs[bottom].readers.append(node)
        for index, top in enumerate(node.tops):
            if top in blobs:
                _check_in_place(document, node, index, blobs[top])
            blobs[top] = _Blob(node)
    return sorted(name for name, blob in blobs.items() if not blob.readers)


def _unknown_bottom(
    document: Document[NetParameter], node: Node, index: int, nodes: list[Node], blobs: dict[str, _Blob]
) -> SpecError:
    bottom = node.bottoms[index]
    later = next((other for other in nodes if bottom in other.tops), None)
    reason = f'no layer makes the blob "{bottom}"'
    if later is not None:
        line = document.position(*later.where)[0]
        reason = f'the blob "{bottom}" is read before layer "{later.name}" (line {line}) makes it'
    elif (absent := next((layer for layer in document.message.layer if bottom in layer.top), None)) is not None:
        phase = "TRAIN" if node.param.phase == TRAIN else "TEST"
        reason += f' in phase {phase} (layer "{absent.name}" makes it: {_rules(absent)})'
    return document.error(reason, *node.where, "bottom", index, wrong=bottom, known=[b for b in blobs if b != bottom])


def _rules(param: LayerParameter) -> str:
    """The rules of a layer as its text has them."""
    rules = [("include", rule) for rule in param.include] + [("exclude", rule) for rule in param.exclude]
    return " ".join(f"{name} {{ {text_format.MessageToString(rule, as_one_line=True)} }}" for name, rule in rules)


def _check_in_place(document: Document[NetParameter], node: Node, index: int, blob: _Blob) -> None:
    """A top may carry a name again only where its layer reads it at the same place, once, and alone: Caffe splits a
    blob with a second reader under new names, and so sees two producers."""
    top = node.tops[index]
    where = (*node.where, "top", index)
    if node.bottoms[index : index + 1] != (top,):
        line = document.position(*blob.producer.where)[0]
        raise document.error(f'the top "{top}" is already made by layer "{blob.producer.name}" (line {line})', *where)
    others = [reader for reader in blob.readers if reader is not node]
    if node.bottoms.count(top) > 1:
        raise document.error(f'"{top}" cannot be changed in place: this layer reads it twice', *where)
    if others:
        line = document.position(*others[0].where)[0]
        reason = f'"{top}" cannot be changed in place: layer "{others[0].name}" (line {line}) reads it too'
        raise document.error(reason, *where)
