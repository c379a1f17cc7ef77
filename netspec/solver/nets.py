"""The nets of a solver: which texts they come from, in which states."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from netspec.net import Net
from netspec.overrides import Overrides
from netspec.schema.netspec_pb2 import TEST, TRAIN, NetParameter, NetState, Phase, SolverParameter
from netspec.solver.classes import check_classes
from netspec.spec import Document


def build_train_net(
    document: Document[SolverParameter],
    solver: SolverParameter,
    overrides: Overrides,
    device: torch.device,
    seed: int,
    allow_python: bool = False,
) -> Net:
    """The train net, from whichever of the four fields the solver gives."""
    source, state = train_text(document, solver, overrides)
    place = solver.data_residence
    return Net(source, state=state, device=device, seed=seed, residence=place, allow_python=allow_python)


def train_text(
    document: Document[SolverParameter], solver: SolverParameter, overrides: Overrides
) -> tuple[Document[NetParameter], NetState]:
    """The text of the train net, and its state."""
    field = next(name for name in ("net", "net_param", "train_net", "train_net_param") if solver.HasField(name))
    source = overrides.applied_to_net(_net_source(document, solver, field), TRAIN)
    return source, _state(source, TRAIN, solver.train_state)


def build_test_nets(
    document: Document[SolverParameter], solver: SolverParameter, overrides: Overrides, train_net: Net, seed: int
) -> list[Net]:
    """The test nets in Caffe's order: test_net_param, test_net, then one of `net` for every test_iter that is left.
    They share the train net's blobs. Without a test_interval there are none. DataError where their classes have other
    numbers."""
    if not solver.test_interval:
        return []
    nets = []
    for source, state in test_texts(document, solver, overrides):
        net = Net(
            source,
            state=state,
            device=train_net.device,
            seed=seed,
            residence=solver.data_residence,
            share=train_net,
            allow_python=train_net.allow_python,
        )
        net.debug_info = solver.debug_info  # whatever the net's own text says, as in Caffe
        check_classes(train_net, net)
        nets.append(net)
    return nets


def test_texts(
    document: Document[SolverParameter], solver: SolverParameter, overrides: Overrides
) -> Iterator[tuple[Document[NetParameter], NetState]]:
    """The text of each test net, and its state."""
    for index, net in enumerate(_test_sources(document, solver)):
        source = overrides.applied_to_net(net, TEST)
        own_state = solver.test_state[index] if solver.test_state else NetState()
        yield source, _state(source, TEST, own_state)


def _test_sources(
    document: Document[SolverParameter], solver: SolverParameter
) -> Iterator[Path | Document[NetParameter]]:
    count = 0
    for field in ("test_net_param", "test_net"):
        for index in range(len(getattr(solver, field))):
            count += 1
            yield _net_source(document, solver, field, index)
    field = "net_param" if solver.HasField("net_param") else "net"
    if solver.HasField(field):
        for _ in range(max(len(solver.test_iter), 1 if count == 0 else 0) - count):
            yield _net_source(document, solver, field)


def _net_source(
    document: Document[SolverParameter], solver: SolverParameter, field: str, index: int | None = None
) -> Path | Document[NetParameter]:
    """The net file that a field of the solver names, or the net that it holds; SpecError at that field where there is
    no such file."""
    value = getattr(solver, field) if index is None else getattr(solver, field)[index]
    where = (field, index or 0)
    if isinstance(value, NetParameter):
        return document.part(value, *where)
    path = document.find(value)
    if not path.is_file():
        folders = [place.parent for place in document.places(value) if place.parent.is_dir()]
        known = [str(Path(value).parent / other.name) for folder in folders[:2] for other in folder.iterdir()]
        raise document.error(f'there is no net file "{value}"', *where, wrong=value, known=known)
    return path


def _state(source: Document[NetParameter], phase: Phase, own: NetState) -> NetState:
    """Caffe's precedence: the phase of the solver, then the net's own state, then the solver's for this net."""
    state = NetState(phase=phase)
    state.MergeFrom(source.message.state)
    state.MergeFrom(own)
    return state
