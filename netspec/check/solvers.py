"""Checks a solver and the nets that it names or holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from netspec.check.build import Built, State
from netspec.check.classes import other_classes
from netspec.check.findings import ERROR, NOTE, Finding, Report
from netspec.check.nets import Options, check_net, forms, inspect_net, tell_forks
from netspec.check.solver_traps import solver_traps
from netspec.check.texts import read_all
from netspec.check.training import not_in_nets
from netspec.data.lmdb_store import LmdbStore
from netspec.errors import DataError, SpecError, nearest
from netspec.schema.netspec_pb2 import NetParameter, NetState, SolverParameter
from netspec.solver.check import check_solver
from netspec.spec import Document
from netspec.upgrade import older_solver_forms, solver_document

_STAND_INS = {"base_lr": 1.0, "lr_policy": "fixed", "max_iter": 1, "type": "SGD"}
"""What a check goes on with where such a field is missing or wrong; any other is left out."""


def check_solver_file(path: Path, options: Options) -> list[Report]:
    """The report on a solver file, then those on its nets."""
    report = Report(str(path))
    document, errors = read_all(path, SolverParameter, options.define)
    report.add(ERROR, *errors)
    if document is None:
        return [report]
    report.kind = "solver"
    report.dialect += forms(path, older_solver_forms(document.message))
    tell_forks(report, document)
    try:
        today = solver_document(document)
    except SpecError as error:
        report.add(ERROR, error)
        return [report]
    refusals = list(_refusals(today, bool(errors)))
    report.add(ERROR, *refusals)
    report.findings += _without_refused(solver_traps(today), refusals)
    for index, name in enumerate(today.message.weights):
        for file in name.split(","):
            if not today.find(file.strip()).exists():
                report.add(NOTE, today.error(f'the weights "{file.strip()}" are not there', "weights", index))
    given = replace(options, has_weights=options.has_weights or bool(today.message.weights))
    return [report, *_check_nets(report, today, given)]


def _refusals(document: Document[SolverParameter], has_gaps: bool) -> Iterator[SpecError]:
    """Every error of `check_solver`: each wrong field is put right for the next. With gaps, where wrong fields were
    left out, it is no error that one is missing."""
    solver = SolverParameter()
    solver.CopyFrom(document.message)
    for _ in SolverParameter.DESCRIPTOR.fields:
        try:
            check_solver(replace(document, message=solver))
            return
        except SpecError as caught:
            error = caught
        name, _, missing = error.reason.partition(" ")
        is_missing = missing == "must be given"
        if not is_missing:
            yield error
        elif not has_gaps:
            yield SpecError(error.reason, error.path)  # there is no line to show
        name = name if is_missing else _field_at(document, error)
        if name in _STAND_INS:
            setattr(solver, name, _STAND_INS[name])
        elif name:
            solver.ClearField(name)
        else:
            return


def _without_refused(traps: Iterable[Finding], refusals: Iterable[SpecError]) -> Iterator[Finding]:
    """The traps, but for those about what is refused at the same place."""
    wrong = {(error.line, error.column) for error in refusals if error.source_line}
    for trap in traps:
        if not trap.place.source_line or (trap.place.line, trap.place.column) not in wrong:
            yield trap


def _field_at(document: Document[SolverParameter], error: SpecError) -> str:
    """The field of a solver whose text begins where an error stands."""
    places = {document.position(field.name): field.name for field, _ in document.message.ListFields()}
    return places.get((error.line, error.column), "")


def _check_nets(report: Report, document: Document[SolverParameter], options: Options) -> list[Report]:
    """Reports on the net files; what is to be said of nets inside the solver's text goes into its own report."""
    reports = []
    built: list[Built] = []
    for name, index, value, states in _nets(document.message, options):
        if isinstance(value, NetParameter):
            built += inspect_net(report, document.part(value, name, index), options, states)
        elif (path := document.find(value)).is_file():
            net_report, nets = check_net(path, options, states)
            reports.append(net_report)
            built += nets
        else:
            known = [str(Path(value).parent / other.name) for other in path.parent.glob("*")]
            error = document.error(f'there is no net file "{value}"', name, index)
            error.hint = nearest(value, known)
            report.add(ERROR, error)
    report.add(ERROR, *not_in_nets(document, built), *other_classes(built))
    report.findings += _seen(document, built)
    report.findings += _small_batches(document, built)
    return reports


def _nets(solver: SolverParameter, options: Options) -> Iterator[tuple[str, int, str | NetParameter, Sequence[State]]]:
    """Field, index, value and states of every net of a solver. As in Caffe, `net` is tested as often as there is a
    test_iter that no test_net has."""

    def state(phase: str, own: NetState) -> State:
        return State(phase, (*own.stage, *options.stages), own.level or options.level, options.shapes)

    train = state("TRAIN", solver.train_state)
    for name in ("train_net", "train_net_param"):
        if solver.HasField(name):
            yield name, 0, getattr(solver, name), [train]
    places = [(name, index) for name in ("test_net_param", "test_net") for index in range(len(getattr(solver, name)))]
    count = max(len(solver.test_iter), len(places), 1)
    given = [*solver.test_state, *[NetState()] * count]
    tests = [state("TEST", own) for own in given[:count]]
    for (name, index), test in zip(places, tests, strict=False):
        yield name, index, getattr(solver, name)[index], [test]
    for name in ("net", "net_param"):
        if solver.HasField(name):
            left = tests[len(places) :] if solver.test_interval else []
            yield name, 0, getattr(solver, name), [train, *left]


def _seen(document: Document[SolverParameter], built: list[Built]) -> Iterator[Finding]:
    """How much of each test set a test sees."""
    tests = [net for net in built if net.state.phase == "TEST"]
    for index, (count, net) in enumerate(zip(document.message.test_iter, tests, strict=False)):
        if net.compiled is None:
            continue
        for data in (node.param.data_param for node in net.nodes):
            size = _size(net.compiled.graph.document.find(data.source)) if data.source else 0
            seen = count * data.batch_size
            if size and seen != size:
                reason = f"a test sees {seen:,} images ({data.batch_size} a batch); {data.source} has {size:,}"
                yield Finding(NOTE, document.error(reason, "test_iter", index))


def _size(folder: Path) -> int:
    """How many records an LMDB has; 0 where it cannot be opened."""
    try:
        return len(LmdbStore(folder)) if folder.exists() else 0
    except DataError:
        return 0


def _small_batches(document: Document[SolverParameter], built: list[Built]) -> Iterator[Finding]:
    """Gradients are summed over `iter_size` batches, but each is normalised by itself."""
    norms = [node for net in built for node in net.nodes if node.param.type in ("BatchNorm", "BN")]
    if norms and document.message.iter_size > 1:
        reason = f'iter_size does not enlarge the batches of BatchNorm (layer "{norms[0].name}")'
        yield Finding(NOTE, document.error(reason, "iter_size"))
