"""A solver in its older forms, in today's form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from netspec.schema.netspec_pb2 import NetParameter, SolverParameter
from netspec.spec import Document, document_of, parse
from netspec.upgrade.net import net_document, older_net_forms
from netspec.upgrade.v1 import Origins

_TYPES = {
    SolverParameter.SGD: "SGD",
    SolverParameter.NESTEROV: "Nesterov",
    SolverParameter.ADAGRAD: "AdaGrad",
    SolverParameter.RMSPROP: "RMSProp",
    SolverParameter.ADADELTA: "AdaDelta",
    SolverParameter.ADAM: "Adam",
}


def solver_document(
    source: str | Path | SolverParameter | Document[SolverParameter], define: Mapping[str, str] | None = None
) -> Document[SolverParameter]:
    """The document of a solver in today's form, whatever stands for it (a path, a message, a document). Errors in it
    show the text as it was written. `define` holds the values of the text's variables.

    `solver_type` becomes `type`, nets that are written out in it come into today's form. SpecError where an old form
    is wrong. The source is not changed; one that is in today's form is returned as it is.
    """
    document = document_of(source, SolverParameter, define)
    if not older_solver_forms(document.message):
        return document
    new = SolverParameter()
    new.CopyFrom(document.message)
    origins: Origins = {}
    if new.HasField("solver_type"):
        if new.HasField("type"):
            raise document.error('a solver has "type" or the older "solver_type", not both', "solver_type")
        new.type = _TYPES[new.solver_type]
        new.ClearField("solver_type")
        origins["type", 0] = ("solver_type", 0)
    for net, name, index in _nets(new):
        part = net_document(document.part(net, name, index))
        origins |= {(name, index, *path): (name, index, *place) for path, place in part.origins.items()}
        net.CopyFrom(part.message)
    return Document(new, document.text, document.path, document.prefix, origins)


def _nets(solver: SolverParameter) -> Iterator[tuple[NetParameter, str, int]]:
    """The nets that are written out in a solver, each with the field and its index."""
    for name in ("net_param", "train_net_param"):
        if solver.HasField(name):
            yield getattr(solver, name), name, 0
    for index, net in enumerate(solver.test_net_param):
        yield net, "test_net_param", index


def older_solver_forms(solver: SolverParameter) -> list[str]:
    """The older forms that a solver uses, in words; none where it is in today's form."""
    forms = ["solver_type"] if solver.HasField("solver_type") else []
    return forms + [f"{form} in {name}" for net, name, _ in _nets(solver) for form in older_net_forms(net)]


def read_solver(path: str | Path, define: Mapping[str, str] | None = None) -> SolverParameter:
    """Read a solver file of any age; SpecError with file, line and column where it is wrong. `define` holds the
    values of its variables."""
    return solver_document(path, define).message


def parse_solver(text: str, define: Mapping[str, str] | None = None) -> SolverParameter:
    """Parse the text of a solver of any age; SpecError with line and column where it is wrong."""
    return solver_document(parse(text, SolverParameter, define=define)).message
