"""Checks a net: in every phase that it is meant for, past its mistakes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from netspec.check.build import Built, State, build_phase, own_tops, participants, unknown_types
from netspec.check.classes import other_classes
from netspec.check.findings import ERROR, NOTE, Report
from netspec.check.net_traps import NetView, net_traps
from netspec.check.origin import OURS, foreign
from netspec.check.texts import has_variables, read_all
from netspec.check.training import untrainable
from netspec.errors import SpecError, nearest
from netspec.graph import PHASES, Node
from netspec.layers import LAYER_TYPES
from netspec.loading import some
from netspec.schema.netspec_pb2 import NetParameter, SolverParameter
from netspec.spec import Document
from netspec.upgrade import net_document, older_net_forms

_ABSENT = "is not there"
"""What every message says about a file that is missing."""


@dataclass(frozen=True)
class Options:
    """What the user gives beside the files: as `Net` takes it, and whether there are weights to start from."""

    stages: tuple[str, ...] = ()
    level: int = 0
    shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    define: Mapping[str, str] = field(default_factory=dict)
    has_weights: bool = False


def check_net(path: Path, options: Options, states: Sequence[State] | None = None) -> tuple[Report, list[Built]]:
    """The report on a net file, and the net as far as it could be built in each of a solver's states; without these,
    in the phases that the text is meant for."""
    report = Report(str(path))
    document, errors = read_all(path, NetParameter, options.define)
    report.add(ERROR, *errors)
    if document is None:
        return report, []
    report.kind = "net"
    report.dialect += forms(path, older_net_forms(document.message))
    return report, inspect_net(report, document, options, states, errors)


def forms(path: Path, older: list[str]) -> list[str]:
    """The dialect of a text: its older forms, or that of today, and whether it has variables."""
    return (older or ["today's form"]) + (["template variables"] if has_variables(path) else [])


def inspect_net(
    report: Report,
    document: Document[NetParameter],
    options: Options,
    states: Sequence[State] | None,
    errors: Sequence[SpecError] = (),
) -> list[Built]:
    """Add to a report what is to be said of a net; `errors` are those in its text that are told already."""
    tell_forks(report, document)
    try:
        today = net_document(document)
    except SpecError as error:
        report.add(ERROR, error)
        return []
    built = _build(report, today, _states(today, options, states), errors)
    shapes_in_vain(report, today, options.shapes, built)
    report.add(NOTE, *_not_checked(today, built))
    # A solver's test nets may stand in other files than its train net.
    report.add(ERROR, *(other_classes(built) if states is None else untrainable(built)))
    for each in built:
        if each.summary and not each.unchecked and not report.is_refused:
            costs = {"parameters": each.summary.parameters, "multiply_adds": each.summary.multiply_adds}
            report.sizes[each.state.phase] = costs
    phases = {each.state.phase: each.nodes for each in built}
    report.findings += net_traps(NetView(today, phases, options.has_weights))
    return built


def _states(document: Document[NetParameter], options: Options, given: Sequence[State] | None) -> list[State]:
    """The states that a solver gives, or the phases that the text is meant for, with the state that the text has."""
    own = document.message.state
    states = given or [State(phase, options.stages, options.level, options.shapes) for phase in PHASES]
    states = [replace(s, stages=(*own.stage, *s.stages), level=s.level or own.level) for s in states]
    return states if given else _meant(document, states)


def _build(
    report: Report, document: Document[NetParameter], states: list[State], errors: Sequence[SpecError]
) -> list[Built]:
    """Build a net in each state, past the layers that cannot be built, and report these."""
    layers = document.message.layer
    unknown = unknown_types(document)
    in_text = _layers_at(document, errors)
    report.add(ERROR, *(error for index, error in unknown.items() if layers[index].type or index not in in_text))
    code = [index for index, layer in enumerate(layers) if _runs_code(layer.type)]
    for index in code:
        reason = f'layer "{layers[index].name}": its Python code is not run in a check'
        report.add(NOTE, document.error(reason, "layer", index))
    found = []
    for state in states:
        nodes, refused = participants(document, state)
        report.add(ERROR, *refused.values())
        built = build_phase(document, state, nodes, {*unknown, *code, *refused}, in_text)
        for error in built.errors:
            report.add(NOTE if _ABSENT in error.reason else ERROR, error)
        report.add(NOTE, *_assumed(document, built))
        found.append(built)
    return found


def _assumed(document: Document[NetParameter], built: Built) -> Iterator[SpecError]:
    """The summary's notes on layers, each at its layer."""
    for note in built.summary.notes if built.summary else ():
        for node in [node for node in built.nodes if note.startswith(f"{node.name}: ")][:1]:
            yield document.error(f'layer "{node.name}"{note.removeprefix(node.name)}', *node.where)


def _not_checked(document: Document[NetParameter], built: Sequence[Built]) -> Iterator[SpecError]:
    """What of a net was not looked at; in which phase, where not in all of them."""
    phases: dict[int, list[str]] = {}
    for each in built:
        for node in each.unchecked:
            phases.setdefault(int(node.where[1]), []).append(each.state.phase)
    groups: dict[str, list[int]] = {}
    for index, found in sorted(phases.items()):
        groups.setdefault("" if len(found) == len(built) else f" in {found[0]}", []).append(index)
    for only, indices in groups.items():
        names = some(document.message.layer[index].name for index in indices)
        reason = f"not checked{only}, since they depend on what was left out: {names}"
        yield document.error(reason, "layer", indices[0])
    unbuilt = dict.fromkeys(each.state.phase for each in built if each.nodes and each.compiled is None)
    if unbuilt:
        yield SpecError(f"no layer could be built in {' and '.join(unbuilt)}", document.path)


def _meant(document: Document[NetParameter], states: list[State]) -> list[State]:
    """The states that a net is meant for: not a phase in which nothing feeds it, where the other one is fed."""
    fed = [state for state in states if any(map(_feeds, participants(document, state)[0]))]
    return fed or states


def _feeds(node: Node) -> bool:
    return not node.bottoms and bool(node.tops)


def _runs_code(layer_type: str) -> bool:
    return layer_type in LAYER_TYPES and LAYER_TYPES[layer_type].runs_code


def _layers_at(document: Document[NetParameter], errors: Sequence[SpecError]) -> set[int]:
    """The indices of the layers in whose text errors stand."""
    places = [document.position("layer", index) for index in range(len(document.message.layer))]
    starts = sorted(places)
    before = [bisect_right(starts, (error.line, error.column)) for error in errors]
    return {places.index(starts[count - 1]) for count in before if count}


def shapes_in_vain(
    report: Report, document: Document[NetParameter], shapes: Mapping[str, Sequence[int]], built: Sequence[Built]
) -> None:
    """Tell of shapes that were given to what is neither an input nor made by a layer that was left out."""
    inputs = {top for layer in document.message.layer if not layer.bottom for top in layer.top}
    inputs |= {top for each in built for node in each.left_out for top in own_tops(node)}
    for name in shapes:
        if name not in inputs:
            reason = f'--shape {name}: "{name}" is no input of this net'
            report.add(ERROR, SpecError(reason, document.path, hint=nearest(name, inputs)))


def tell_forks(report: Report, document: Document[NetParameter] | Document[SolverParameter]) -> None:
    """Name the forks whose fields and types a text uses, each with its first line, and what is netspec's own."""
    told = set()
    for fork, name, place in foreign(document.message):
        if (fork, name) in told:
            continue
        told.add((fork, name))
        if fork == OURS:
            report.add(NOTE, document.error(f"{name} is netspec's own field: Caffe itself refuses it", *place))
        else:
            report.forks.append(f"{fork}: {name} (line {document.position(*place)[0]})")
