"""The training run: its loop, update rules, rates, snapshots, and what reaches it from outside."""

from netspec.solver.solver import Solver

__all__ = ["Solver"]
