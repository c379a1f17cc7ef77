"""How gradients change the weights: Caffe's order (clip, divide by iter_size, decay) and its update rules."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from netspec.params import Param
from netspec.schema.netspec_pb2 import SolverParameter


class Update:
    """What every solver type shares. A type computes its update in `move`, from gradients that are ready to use.

    `history` has Caffe's blobs in Caffe's order: one a blob of the net, a zero for states that never move.
    """

    def __init__(self, params: Sequence[Param]) -> None:
        self.history = [torch.zeros_like(param.tensor, requires_grad=False) for param in params]
        self._groups: dict[tuple[float, float], tuple[list[Tensor], list[Tensor]]] = {}
        for param, history in zip(params, self.history, strict=True):
            if param.tensor.requires_grad:
                weights, histories = self._groups.setdefault((param.lr_mult, param.decay_mult), ([], []))
                weights.append(param.tensor)
                histories.append(history)

    @property
    def weights(self) -> list[Tensor]:
        """The blobs that learn."""
        return [weight for weights, _ in self._groups.values() for weight in weights]

    @torch.no_grad()
    def apply(self, solver: SolverParameter, rate: float) -> None:
        """Change every weight by its gradient, summed over `iter_size` passes, at the rate of this iteration."""
        for weight in self.weights:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
        gradients = [weight.grad for weight in self.weights if weight.grad is not None]
        if solver.clip_gradients > 0:
            _clip(gradients, solver.clip_gradients)
        if solver.iter_size > 1:
            torch._foreach_mul_(gradients, 1 / solver.iter_size)
        for (lr_mult, decay_mult), (weights, histories) in self._groups.items():
            gradients = [weight.grad for weight in weights if weight.grad is not None]
            _regularize(weights, gradients, solver.weight_decay * decay_mult, solver.regularization_type)
            self.move(solver, weights, gradients, histories, rate * lr_mult)

    def move(
        self,
        solver: SolverParameter,
        weights: list[Tensor],
        gradients: list[Tensor],
        history: list[Tensor],
        rate: float,
    ) -> None:
        """Change weights that share a rate."""
        raise NotImplementedError


class SGD(Update):
    """V = momentum V + rate g; w = w - V. The rate is inside the history, so a drop does not scale old gradients
    (torch.optim.SGD applies it outside)."""

    def move(
        self,
        solver: SolverParameter,
        weights: list[Tensor],
        gradients: list[Tensor],
        history: list[Tensor],
        rate: float,
    ) -> None:
        torch._foreach_mul_(history, solver.momentum)
        torch._foreach_add_(history, gradients, alpha=rate)
        torch._foreach_sub_(weights, history)


UPDATES: dict[str, type[Update]] = {"SGD": SGD}
"""The solver types by name."""


def _clip(gradients: list[Tensor], most: float) -> None:
    """Scale all gradients so that their common L2 norm is at most `most`, without reading the norm on the host."""
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    torch._foreach_mul_(gradients, (most / norm).clamp(max=1.0))


def _regularize(weights: list[Tensor], gradients: list[Tensor], decay: float, kind: str) -> None:
    """Add the gradient of the penalty: decay w for L2, decay sign(w) for L1."""
    if decay:
        penalty = weights if kind == "L2" else torch._foreach_sign(weights)
        torch._foreach_add_(gradients, penalty, alpha=decay)
