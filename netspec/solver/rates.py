"""Caffe's learning-rate policies: the rate as a pure function of the iteration."""

from __future__ import annotations

import math
from collections.abc import Callable

from netspec.schema.netspec_pb2 import SolverParameter

POLICIES: dict[str, Callable[[SolverParameter, int], float]] = {
    "fixed": lambda solver, iteration: 1.0,
    "step": lambda solver, iteration: solver.gamma ** (iteration // solver.stepsize),
    "exp": lambda solver, iteration: solver.gamma**iteration,
    "inv": lambda solver, iteration: (1 + solver.gamma * iteration) ** -solver.power,
    "multistep": lambda solver, iteration: solver.gamma ** stage(solver, iteration),
    "poly": lambda solver, iteration: max(0.0, 1 - iteration / solver.max_iter) ** solver.power,
    "sigmoid": lambda solver, iteration: _sigmoid(solver.gamma * (iteration - solver.stepsize)),
}
"""What every policy multiplies base_lr by."""

NEEDS: dict[str, tuple[str, ...]] = {
    "step": ("gamma", "stepsize"),
    "exp": ("gamma",),
    "inv": ("gamma", "power"),
    "multistep": ("gamma", "stepvalue"),
    "poly": ("power", "max_iter"),
    "sigmoid": ("gamma", "stepsize"),
}
"""The fields that a policy cannot do without."""


def learning_rate(solver: SolverParameter, iteration: int) -> float:
    """The rate of an iteration, before any lr_mult."""
    return solver.base_lr * POLICIES[solver.lr_policy](solver, iteration)


def stage(solver: SolverParameter, iteration: int) -> int:
    """How many stepvalues of `multistep` are behind at an iteration; Caffe passes at most one an iteration."""
    reached = -1
    for count, value in enumerate(solver.stepvalue):
        reached = max(value, reached + 1)
        if iteration < reached:
            return count
    return len(solver.stepvalue)


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0
