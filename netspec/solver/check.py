"""What a solver text must hold before a run can start."""

from __future__ import annotations

from netspec.schema.netspec_pb2 import SolverParameter
from netspec.solver.rates import NEEDS, POLICIES
from netspec.solver.rules import NO_DIFF, NO_MOMENTUM, UPDATES
from netspec.spec import Document

_AT_LEAST = {
    "base_lr": 0, "max_iter": 0, "display": 0, "average_loss": 1, "iter_size": 1, "test_interval": 0, "snapshot": 0,
    "momentum": 0, "weight_decay": 0, "snapshot_keep": 0, "warmup_iter": 0, "warmup_start_lr": 0, "min_lr": 0,
    "plateau_patience": 0, "watch_threshold": 0, "stop_patience": 0, "ema_decay": 0, "local_gw_ratio": 0,
    "momentum2": 0, "rms_decay": 0, "delta": 0, "stepsize": 0,
}  # fmt: skip


def check_solver(document: Document[SolverParameter]) -> None:
    """SpecError at the first field that is missing, unknown, or out of its range."""
    solver = document.message
    for name in ("base_lr", "lr_policy", "max_iter"):
        if not solver.HasField(name):
            raise document.error(f"{name} must be given")
    if solver.type not in UPDATES:
        raise document.error(f'there is no solver type "{solver.type}"', "type", wrong=solver.type, known=UPDATES)
    if solver.HasField("solver_type"):
        raise document.error('"solver_type" is the older form of "type"; set that one', "solver_type")
    if solver.regularization_type not in ("L1", "L2"):
        raise document.error("regularization_type is L1 or L2", "regularization_type")
    for name, least in _AT_LEAST.items():
        if getattr(solver, name) < least:
            raise document.error(f"{name} must be at least {least}, not {getattr(solver, name):g}", name)
    for name in ("momentum", "momentum2", "rms_decay", "ema_decay"):
        if getattr(solver, name) >= 1:
            raise document.error(f"{name} must be below 1, not {getattr(solver, name):g}", name)
    if solver.momentum and solver.type in NO_MOMENTUM:
        raise document.error(f"{solver.type} has no momentum", "momentum")
    if solver.type == "AdamW" and solver.regularization_type == "L1":
        raise document.error("AdamW decays the weights by itself; L1 is for the other types", "regularization_type")
    _check_diff(document)
    _check_policy(document)
    _check_watch(document)
    _check_nets(document)


def _check_diff(document: Document[SolverParameter]) -> None:
    """What has no place for diffs, or no diffs."""
    solver = document.message
    if solver.snapshot_diff and solver.snapshot_format == SolverParameter.SAFETENSORS:
        raise document.error("SAFETENSORS files have no place for diffs", "snapshot_diff")
    if solver.snapshot_diff and solver.type in NO_DIFF:
        raise document.error(f"{solver.type} has no diff", "snapshot_diff")


def _check_policy(document: Document[SolverParameter]) -> None:
    solver = document.message
    policy = solver.lr_policy
    if policy not in POLICIES:
        raise document.error(f'there is no lr_policy "{policy}"', "lr_policy", wrong=policy, known=POLICIES)
    for name in NEEDS.get(policy, ()):
        value = getattr(solver, name)
        if not value and (name in ("stepsize", "stepvalue", "max_iter", "watch") or not solver.HasField(name)):
            raise document.error(f'lr_policy "{policy}" needs {name}', "lr_policy")
    if solver.gamma < 0 and "gamma" in NEEDS.get(policy, ()):
        raise document.error(f"gamma must be at least 0, not {solver.gamma:g}", "gamma")
    if solver.min_lr and policy not in ("cosine", "plateau"):
        raise document.error('min_lr is for lr_policy "cosine" and "plateau"', "min_lr")
    if solver.min_lr > solver.base_lr:
        raise document.error(f"min_lr must not be above base_lr, which is {solver.base_lr:g}", "min_lr")
    if policy == "plateau" and solver.gamma >= 1:
        raise document.error(f"gamma must be below 1 for a rate to drop, not {solver.gamma:g}", "gamma")
    if solver.warmup_start_lr and not solver.warmup_iter:
        raise document.error("warmup_start_lr needs warmup_iter", "warmup_start_lr")


def _check_watch(document: Document[SolverParameter]) -> None:
    """What judges by tests must say by which output."""
    solver = document.message
    judging = [name for name in ("stop_patience", "snapshot_best") if getattr(solver, name)]
    if judging and not solver.watch:
        raise document.error(f'{judging[0]} needs watch: the output of a test net, as "accuracy"', judging[0])
    if solver.watch and not solver.test_interval:
        raise document.error("watch needs a test_interval", "watch")


def _check_nets(document: Document[SolverParameter]) -> None:
    solver = document.message
    train = [name for name in ("net", "net_param", "train_net", "train_net_param") if solver.HasField(name)]
    if len(train) != 1:
        reason = "give one of net, net_param, train_net, train_net_param"
        raise document.error(f"{reason}, not {' and '.join(train)}" if train else reason, *train[1:2])
    tests = len(solver.test_net) + len(solver.test_net_param)
    if train[0].startswith("net"):
        tests = max(tests, 1)
    if tests and solver.test_interval and solver.test_iter and len(solver.test_iter) < tests:
        raise document.error(f"{len(solver.test_iter)} test_iter for {tests} test nets", "test_iter")
    if solver.test_state and len(solver.test_state) != max(len(solver.test_iter), tests):
        raise document.error(f"{len(solver.test_state)} test_state for {tests} test nets", "test_state")
