"""How gradients change the weights: Caffe's order (clip, divide by iter_size, decay) and its update rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from netspec.blobs import Param
from netspec.schema.netspec_pb2 import SolverParameter


@dataclass
class Group:
    """Weights with the same multipliers, and the history of each."""

    lr_mult: float
    decay_mult: float
    weights: list[Tensor] = field(default_factory=list)
    history: list[Tensor] = field(default_factory=list)

    @property
    def gradients(self) -> list[Tensor]:
        """The gradients; a weight that the loss did not reach has one of zeros."""
        for weight in self.weights:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
        return [weight.grad for weight in self.weights if weight.grad is not None]


class Update:
    """What every solver type shares. `history` has one blob for each of the net, in Caffe's order; those of states
    and frozen weights stay zero. Gradients may be left changed."""

    def __init__(self, params: Sequence[Param]) -> None:
        self.history = [torch.zeros_like(param.tensor, requires_grad=False) for param in params]
        groups: dict[tuple[float, float], Group] = {}
        for param, history in zip(params, self.history, strict=True):
            if param.tensor.requires_grad:
                key = (param.lr_mult, param.decay_mult)
                group = groups.setdefault(key, Group(*key))
                group.weights.append(param.tensor)
                group.history.append(history)
        self._groups = list(groups.values())

    @property
    def weights(self) -> list[Tensor]:
        """The blobs that learn."""
        return [weight for group in self._groups for weight in group.weights]

    @torch.no_grad()
    def apply(self, solver: SolverParameter, rate: float) -> None:
        """Change every weight by its gradient, summed over `iter_size` passes, at the rate of this iteration."""
        scale = self._clip(solver.clip_gradients) / solver.iter_size
        for group in self._groups:
            decay = solver.weight_decay * group.decay_mult
            if decay and solver.regularization_type == "L1":
                torch._foreach_mul_(group.gradients, scale)
                torch._foreach_add_(group.gradients, torch._foreach_sign(group.weights), alpha=decay)
                self.move(solver, group, rate * group.lr_mult, torch.ones_like(scale), 0.0)
            else:
                self.move(solver, group, rate * group.lr_mult, scale, decay)

    def _clip(self, most: float) -> Tensor:
        """What scales all gradients so that their common L2 norm is at most `most`: on the device, never read here."""
        one = torch.ones((), device=self._groups[0].weights[0].device if self._groups else None)
        if most <= 0 or not self._groups:
            return one
        norms = torch._foreach_norm([gradient for group in self._groups for gradient in group.gradients])
        norm: Tensor = torch.linalg.vector_norm(torch.stack(norms))
        return (most / norm).clamp(max=1.0)

    def move(self, solver: SolverParameter, group: Group, rate: float, scale: Tensor, decay: float) -> None:
        """Change the weights of a group by the gradients `scale` * g + `decay` * w, in one pass where that can be."""
        raise NotImplementedError


class SGD(Update):
    """V = momentum V + rate g; w = w - V. The rate is inside the history, so that a drop does not scale what was
    gathered before it (torch.optim.SGD has it outside)."""

    def move(self, solver: SolverParameter, group: Group, rate: float, scale: Tensor, decay: float) -> None:
        momentum = solver.momentum
        if not momentum:  # The kernel keeps no history then, but a snapshot has one: all of nothing plus the rest.
            torch._foreach_zero_(group.history)
            momentum = 1.0
        # PyTorch's fused kernel at a rate of 1, given gradients and decay that hold the rate, is Caffe's rule.
        torch._fused_sgd_(
            group.weights,
            group.gradients,
            group.history,
            weight_decay=rate * decay,
            momentum=momentum,
            lr=1.0,
            dampening=0.0,
            nesterov=False,
            maximize=False,
            is_first_step=False,
            grad_scale=1 / (scale * rate),
        )


UPDATES: dict[str, type[Update]] = {"SGD": SGD}
"""The solver types by name."""
