"""How gradients change the weights: Caffe's order (clip, divide by iter_size, decay), which all update rules share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from netspec.blobs import Param
from netspec.schema.netspec_pb2 import SolverParameter
from netspec.solver.weight_copies import WeightCopies


@dataclass
class Group:
    """Weights with the same multipliers that began to learn at the same iteration; `history` has a list of blobs for
    each of the rule's slots."""

    lr_mult: float
    decay_mult: float
    begin: int
    weights: list[Tensor] = field(default_factory=list)
    history: list[list[Tensor]] = field(default_factory=list)

    @property
    def gradients(self) -> list[Tensor]:
        """The gradients; a weight that the loss did not reach has one of zeros."""
        for weight in self.weights:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
        return [weight.grad for weight in self.weights if weight.grad is not None]

    def in_memory(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Tensors like the weights, one for each, as views in the order of memory: PyTorch's fused kernels on a CPU
        copy those that are in channels-last memory, which makes an update twice as long."""
        last = torch.channels_last
        return [
            tensor if weight.is_contiguous() else tensor.contiguous(memory_format=last).permute(0, 2, 3, 1)
            for weight, tensor in zip(self.weights, tensors, strict=True)
        ]

    @property
    def is_reached(self) -> bool:
        """Whether the loss reached a weight."""
        return any(weight.grad is not None for weight in self.weights)


Number = float | Tensor
"""A number, or a scalar on the device: one that is known there alone, or that changes where an iteration is
captured."""


class Pace(NamedTuple):
    """What changes from one iteration to the next in how a group is moved. `iterations` is how many it has learned in,
    this one included; `corrected` is the rate times the rule's correction for their number. While a rule `is_early`
    it moves weights in another way than later."""

    rate: Number
    iterations: Number
    corrected: Number
    is_early: bool = False


@dataclass(frozen=True)
class Step:
    """What a rule is given for one group in one iteration: move the weights w at this pace by the gradients
    g' = `scale` * g + `decay` * w."""

    solver: SolverParameter
    pace: Pace
    scale: Number
    decay: float


class Update:
    """What every solver type shares. `history` has `slots` blobs for each of the net, in Caffe's order: the first of
    every blob, then the second of every blob. Gradients may be left changed; with `snapshot_diff` they are what was
    subtracted from the weights, as in Caffe."""

    slots = 1

    sees_still_blobs = False
    """Whether the history of blobs with lr_mult 0, states among them, takes in their decay. It does in Caffe, which
    multiplies by the rate last; it is 0 where the rate is inside the history."""

    changing: ClassVar[tuple[str, ...]] = ("rate",)
    """The numbers of a pace that the rule reads where they are scalars on the device."""

    def __init__(self, params: Sequence[Param]) -> None:
        self._params = params
        self.copies: WeightCopies | None = None
        """What is copied from the weights after each change."""
        self.history = [
            torch.zeros_like(param.tensor, requires_grad=False) for _ in range(self.slots) for param in params
        ]
        self.regroup()

    def regroup(self, begins: Mapping[str, int] | None = None) -> None:
        """Take up which blobs take a gradient now; `begins` has the iteration in which those of a layer began to."""
        groups: dict[tuple[float, float, int], Group] = {}
        for index, param in enumerate(self._params):
            if param.tensor.requires_grad or (self.sees_still_blobs and not param.lr_mult):
                begin = (begins or {}).get(param.layer, 0) if param.lr_mult else 0
                key = (param.lr_mult, param.decay_mult, begin)
                group = groups.setdefault(key, Group(*key, history=[[] for _ in range(self.slots)]))
                group.weights.append(param.tensor)
                for slot, blobs in enumerate(group.history):
                    blobs.append(self.history[slot * len(self._params) + index])
        self._groups = list(groups.values())

    @property
    def weights(self) -> list[Tensor]:
        """The blobs that take a gradient."""
        return [weight for group in self._groups for weight in group.weights if weight.requires_grad]

    def apply(self, solver: SolverParameter, rate: float, iteration: int) -> None:
        """Change every weight by its gradient, summed over `iter_size` passes, at the rate of this iteration."""
        self.change(solver, self.paces(solver, rate, iteration))

    def paces(self, solver: SolverParameter, rate: float, iteration: int) -> list[Pace]:
        """The pace of each group in an iteration."""
        return [self.pace(solver, rate * group.lr_mult, iteration - group.begin + 1) for group in self._groups]

    def pace(self, solver: SolverParameter, rate: float, count: int) -> Pace:
        """The pace of a group with this rate, in the iteration of this number from 1."""
        return Pace(rate, count, rate)

    @torch.no_grad()
    def change(self, solver: SolverParameter, paces: Sequence[Pace]) -> None:
        """Change every weight by its gradient, each group at its pace."""
        scale = self._clip(solver.clip_gradients) / solver.iter_size
        move = self._move_by_diff if solver.snapshot_diff else self.move
        for group, pace in zip(self._groups, paces, strict=True):
            decay = solver.weight_decay * group.decay_mult
            step = Step(solver, pace, scale, decay)
            if decay and solver.regularization_type == "L1":
                torch._foreach_mul_(group.gradients, scale)
                torch._foreach_add_(group.gradients, torch._foreach_sign(group.weights), alpha=decay)
                step = replace(step, scale=1.0, decay=0.0)
            if group.lr_mult or decay or group.is_reached:
                move(group, step)
        if self.copies:
            self.copies.take()

    def _clip(self, most: float) -> Number:
        """What scales all gradients so that their common L2 norm is at most `most`, if that is not negative: on the
        device, never read here."""
        gradients = [weight.grad for group in self._groups for weight in group.weights if weight.grad is not None]
        if most < 0 or not gradients:
            return 1.0
        norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        return torch.where(norm > most, most / norm, 1.0)

    def _move_by_diff(self, group: Group, step: Step) -> None:
        """`move`, and leave in the gradients what was subtracted from the weights: weights of 0 are moved, which
        become its negative to the last bit."""
        gradients = regularised(group, step)
        moved = [torch.zeros_like(weight) for weight in group.weights]
        for weight, gradient in zip(moved, gradients, strict=True):
            weight.grad = gradient
        stand_in = replace(group, weights=moved)
        self.move(stand_in, replace(step, scale=1.0, decay=0.0))
        torch._foreach_add_(group.weights, moved)
        torch._foreach_copy_(gradients, torch._foreach_neg(moved))

    def move(self, group: Group, step: Step) -> None:
        """Change the weights of a group, and its history."""
        raise NotImplementedError


def regularised(group: Group, step: Step) -> list[Tensor]:
    """The gradients g' of a step, for rules that have no kernel to make them on the way."""
    torch._foreach_mul_(group.gradients, step.scale)
    if step.decay:
        torch._foreach_add_(group.gradients, group.weights, alpha=step.decay)
    return group.gradients


def decayed(group: Group, step: Step) -> Step:
    """The step that is left once the decay is in the gradients."""
    if not step.decay:
        return step
    if not isinstance(step.scale, Tensor):  # One operation is enough.
        torch._foreach_add_(group.gradients, group.weights, alpha=step.decay / step.scale)
        return replace(step, decay=0.0)
    regularised(group, step)
    return replace(step, scale=1.0, decay=0.0)


def divisor(share: Number, group: Group) -> Tensor | None:
    """What kernels divide gradients by that take a share of them, a scalar on the device; None for all of them."""
    if isinstance(share, Tensor):
        return share.reciprocal()
    return None if share == 1 else torch.full((), share, device=group.weights[0].device).reciprocal()
