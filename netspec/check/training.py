"""What a run says of its nets before the first iteration, for nets that are only built on paper."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from netspec.blobs import Param, check_names
from netspec.check.build import Built
from netspec.compiler import Compiled
from netspec.errors import SpecError
from netspec.graph import Graph
from netspec.schema.netspec_pb2 import SolverParameter
from netspec.solver.freezing import Freezing
from netspec.solver.start import check_train_net
from netspec.solver.watch import Watch
from netspec.spec import Document


@dataclass(frozen=True)
class _NetOnPaper:
    """As much of a `Net` as is looked at before the first iteration."""

    compiled: Compiled
    params: list[Param]

    @property
    def graph(self) -> Graph:
        return self.compiled.graph

    @property
    def outputs(self) -> list[str]:
        return self.compiled.graph.outputs

    @property
    def loss_weights(self) -> dict[str, float]:
        return self.compiled.loss_weights

    def check_names(self) -> None:
        check_names(self.compiled)


def untrainable(built: Sequence[Built]) -> Iterator[SpecError]:
    """Why nothing can be learnt in a net."""
    for net in _whole(built, "TRAIN"):
        try:
            check_train_net(net)
        except SpecError as error:
            yield error


def not_in_nets(document: Document[SolverParameter], built: Sequence[Built]) -> Iterator[SpecError]:
    """What a solver names that its nets do not have; nothing is said of nets that could not be built whole."""
    solver = document.message
    try:
        for net in _whole(built, "TRAIN"):
            Freezing(document, solver, net)
        tests = _whole(built, "TEST")
        if tests and len(tests) == sum(net.state.phase == "TEST" for net in built):
            Watch(document, solver, tests)
    except SpecError as error:
        yield error


def _whole(built: Sequence[Built], phase: str) -> list[Any]:
    """The nets of a phase of which every layer could be built, to be taken for a `Net`."""
    nets = [net for net in built if net.state.phase == phase and not (net.left_out or net.unchecked or net.errors)]
    return [_NetOnPaper(net.compiled, net.params) for net in nets if net.compiled is not None]
