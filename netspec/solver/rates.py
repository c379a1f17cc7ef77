"""Learning-rate policies, Caffe's and two more: the rate as a function of the iteration and a plateau's drops."""

from __future__ import annotations

import math
from collections.abc import Callable

from netspec.schema.netspec_pb2 import SolverParameter


def _decay(factor: Callable[[SolverParameter, int], float]) -> Callable[[SolverParameter, int, int], float]:
    """A policy of Caffe's: base_lr times a factor."""
    return lambda solver, iteration, drops: solver.base_lr * factor(solver, iteration)


def _cosine(solver: SolverParameter, iteration: int, drops: int) -> float:
    """From base_lr to min_lr at max_iter (Loshchilov and Hutter 2017, without restarts)."""
    done = min(1.0, iteration / solver.max_iter)
    return solver.min_lr + (solver.base_lr - solver.min_lr) * (1 + math.cos(math.pi * done)) / 2


def _plateau(solver: SolverParameter, iteration: int, drops: int) -> float:
    return max(solver.base_lr * _power(solver.gamma, drops), solver.min_lr)


def _power(base: float, exponent: float) -> float:
    """base^exponent as C has it: infinite where Python sees an error."""
    try:
        return float(base**exponent)
    except (OverflowError, ZeroDivisionError):
        return math.inf


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


POLICIES: dict[str, Callable[[SolverParameter, int, int], float]] = {
    "fixed": _decay(lambda solver, iteration: 1.0),
    "step": _decay(lambda solver, iteration: _power(solver.gamma, stage(solver, iteration))),
    "exp": _decay(lambda solver, iteration: _power(solver.gamma, iteration)),
    "inv": _decay(lambda solver, iteration: _power(1 + solver.gamma * iteration, -solver.power)),
    "multistep": _decay(lambda solver, iteration: _power(solver.gamma, stage(solver, iteration))),
    "poly": _decay(lambda solver, iteration: _power(max(0.0, 1 - iteration / solver.max_iter), solver.power)),
    "sigmoid": _decay(lambda solver, iteration: _sigmoid(solver.gamma * (iteration - solver.stepsize))),
    "cosine": _cosine,
    "plateau": _plateau,
}
"""The rate of an iteration under every policy, after some drops of a plateau."""

NEEDS: dict[str, tuple[str, ...]] = {
    "step": ("gamma", "stepsize"),
    "exp": ("gamma",),
    "inv": ("gamma", "power"),
    "multistep": ("gamma", "stepvalue"),
    "poly": ("power", "max_iter"),
    "sigmoid": ("gamma", "stepsize"),
    "cosine": ("max_iter",),
    "plateau": ("gamma", "watch"),
}
"""The fields that a policy cannot do without."""

FOLLOWS_MAX_ITER = ("poly", "cosine")
"""The policies under which another max_iter is another rate at every iteration."""


def learning_rate(solver: SolverParameter, iteration: int, drops: int = 0) -> float:
    """The rate of an iteration, before any lr_mult. A warm-up leads in a straight line from warmup_start_lr up to the
    rate of the policy."""
    rate = POLICIES[solver.lr_policy](solver, iteration, drops)
    if iteration < solver.warmup_iter:
        return solver.warmup_start_lr + (rate - solver.warmup_start_lr) * iteration / solver.warmup_iter
    return rate


def stage(solver: SolverParameter, iteration: int) -> int:
    """How many drops of `step` or `multistep` are behind at an iteration, 0 for any other policy. Caffe passes at most
    one stepvalue an iteration."""
    if solver.lr_policy == "step":
        return max(iteration, 0) // solver.stepsize
    values = solver.stepvalue if solver.lr_policy == "multistep" else ()
    reached = -1
    for count, value in enumerate(values):
        reached = max(value, reached + 1)
        if iteration < reached:
            return count
    return len(values)
