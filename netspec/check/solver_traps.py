"""What is wrong with a solver that would start: rates that do not fall, weights that are never saved."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from netspec.check.findings import NOTE, TRAP, Finding
from netspec.errors import SpecError
from netspec.schema.netspec_pb2 import SolverParameter
from netspec.solver.rates import NEEDS, POLICIES
from netspec.solver.rules import UPDATES
from netspec.spec import Document

Solver = Document[SolverParameter]
Trap = Callable[[Solver], Iterator[Finding]]

_RATE_FIELDS = ("gamma", "power", "stepsize", "stepvalue", "plateau_patience")
_ADAMS = ("Adam", "AdamW", "RAdam")
_ONLY_OF_TYPES = {
    "momentum2": _ADAMS, "rms_decay": ("RMSProp",), "delta": ("AdaGrad", "RMSProp", "AdaDelta", *_ADAMS),
    "local_gw_ratio": ("LARS",),
}  # fmt: skip
"""Fields of the update, and the solver types that read them."""
_MOMENTUM = {"Adam": "beta1", "AdamW": "beta1", "RAdam": "beta1", "AdaDelta": "decay of averages"}
"""What momentum is to the solver types that give it another meaning."""


def solver_traps(document: Solver) -> Iterator[Finding]:
    """Every trap in a solver."""
    for trap in TRAPS:
        yield from trap(document)


def _place(document: Solver, reason: str, name: str, index: int = 0) -> SpecError:
    """The reason at a field, or at the file as a whole where the text does not have it."""
    if not _is_set(document.message, name):
        return SpecError(reason, document.path)
    return document.error(reason, name, index)


def _is_set(solver: SolverParameter, name: str) -> bool:
    return any(field.name == name for field, _ in solver.ListFields())


def never_reached(document: Solver) -> Iterator[Finding]:
    """Drops of the rate that come after the end."""
    solver = document.message
    values = [("stepvalue", index, value) for index, value in enumerate(solver.stepvalue)]
    if solver.lr_policy == "step" and solver.HasField("stepsize"):
        values = [("stepsize", 0, solver.stepsize)]
    for name, index, value in values:
        if solver.lr_policy in ("step", "multistep") and value >= solver.max_iter > 0:
            reason = f"{name} {value} is never reached: max_iter is {solver.max_iter}"
            yield Finding(TRAP, _place(document, reason, name, index))


def falling_stepvalues(document: Solver) -> Iterator[Finding]:
    """A drop before the one that is written above it: as in Caffe it comes right after that."""
    values = document.message.stepvalue
    for index in range(1, len(values)):
        if values[index] < values[index - 1]:
            reason = f"stepvalue {values[index]} comes after {values[index - 1]}: its drop waits for that one"
            yield Finding(TRAP, _place(document, reason, "stepvalue", index))


def without_effect(document: Solver) -> Iterator[Finding]:
    """Fields of another policy or solver type than the given one."""
    solver = document.message
    for name in _RATE_FIELDS if solver.lr_policy in POLICIES else ():
        needed = (*NEEDS.get(solver.lr_policy, ()), "plateau_patience" * (solver.lr_policy == "plateau"))
        if _is_set(solver, name) and name not in needed:
            yield Finding(TRAP, _place(document, f'{name} has no effect with lr_policy "{solver.lr_policy}"', name))
    for name, types in _ONLY_OF_TYPES.items():
        if solver.HasField(name) and solver.type in UPDATES and solver.type not in types:
            yield Finding(TRAP, _place(document, f'{name} has no effect with type "{solver.type}"', name))
    if solver.watch and not (solver.lr_policy == "plateau" or solver.stop_patience or solver.snapshot_best):
        reason = 'watch decides nothing without lr_policy "plateau", stop_patience or snapshot_best'
        yield Finding(TRAP, _place(document, reason, "watch"))


def rising_rate(document: Solver) -> Iterator[Finding]:
    """A gamma that makes the rate grow; Caffe's sigmoid falls only with a gamma below 0, which it refuses."""
    solver = document.message
    grows = solver.gamma > 1 and solver.lr_policy in ("step", "exp", "multistep", "plateau")
    if grows or (solver.lr_policy == "sigmoid" and solver.gamma > 0):
        reason = f'with lr_policy "{solver.lr_policy}" and gamma {solver.gamma:g} the rate rises'
        yield Finding(TRAP, _place(document, reason, "gamma"))


def all_warmup(document: Solver) -> Iterator[Finding]:
    """A warm-up that the run does not outlast."""
    solver = document.message
    if 0 < solver.max_iter <= solver.warmup_iter:
        reason = f"the warm-up of {solver.warmup_iter} iterations lasts to the end: max_iter is {solver.max_iter}"
        yield Finding(TRAP, _place(document, reason, "warmup_iter"))


def no_rate(document: Solver) -> Iterator[Finding]:
    """A base_lr of 0."""
    if document.message.HasField("base_lr") and document.message.base_lr == 0:
        yield Finding(TRAP, _place(document, "base_lr is 0: nothing learns", "base_lr"))


def momentum(document: Solver) -> Iterator[Finding]:
    """Caffe's default is 0, for Adam's beta1 too."""
    solver = document.message
    if solver.HasField("momentum"):
        return
    if solver.type in _MOMENTUM:
        reason = f"momentum is the {_MOMENTUM[solver.type]} of {solver.type}, and 0 unless it is given: 0.9 is usual"
        yield Finding(TRAP, _place(document, reason, "type"))
    elif solver.type in ("SGD", "Nesterov", "LARS"):
        yield Finding(NOTE, _place(document, "momentum is 0 unless it is given: 0.9 is usual", "type"))


def tests(document: Solver) -> Iterator[Finding]:
    """Half of what a test needs."""
    solver = document.message
    tested = solver.test_iter or solver.test_net or solver.test_net_param
    if tested and not solver.test_interval:
        name = next(name for name in ("test_iter", "test_net", "test_net_param") if getattr(solver, name))
        yield Finding(TRAP, _place(document, "without test_interval nothing is ever tested", name))
    if solver.test_interval and not solver.test_iter:
        reason = "without test_iter every test sees the whole set once; Caffe itself refuses this"
        yield Finding(NOTE, _place(document, reason, "test_interval"))


def snapshots(document: Solver) -> Iterator[Finding]:
    """Weights that are not saved, or only at the end."""
    solver = document.message
    if solver.snapshot == 0 and not solver.snapshot_after_train:
        yield Finding(TRAP, _place(document, "nothing is ever saved", "snapshot_after_train"))
    elif solver.snapshot == 0:
        yield Finding(NOTE, _place(document, "without snapshot nothing is saved before the end", "snapshot"))


def display(document: Solver) -> Iterator[Finding]:
    """A run that says nothing."""
    if document.message.display == 0:
        yield Finding(NOTE, _place(document, "without display no loss is printed", "display"))


def random_seed(document: Solver) -> Iterator[Finding]:
    """A run that cannot be repeated."""
    if document.message.random_seed < 0:
        reason = "without random_seed every run starts from other weights"
        yield Finding(NOTE, _place(document, reason, "random_seed"))


TRAPS: list[Trap] = [
    never_reached, falling_stepvalues, without_effect, rising_rate, all_warmup, no_rate, momentum, tests, snapshots,
    display, random_seed,
]  # fmt: skip
