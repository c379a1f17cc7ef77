"""The update rules: Caffe's six, and three that came after it.

In the formulas w is a weight, g its gradient (clipped, divided, decayed), lr the rate times lr_mult, t the number of
the iteration from 1; V, h, m, v, u are history. Where PyTorch has a fused kernel that can be brought to the rule, it
does the work: on the CPU it is several times faster than foreach operations. Where a pace holds scalars on the device,
the numbers that a kernel takes from Python must not change.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from netspec.schema.netspec_pb2 import SolverParameter
from netspec.solver.updates import Group, Number, Pace, Step, Update, decayed, divisor, regularised


class SGD(Update):
    """V = momentum V + lr g; w = w - V. The rate is inside the history, so that a drop does not scale what was
    gathered before it (torch.optim.SGD has it outside)."""

    nesterov = False

    def move(self, group: Group, step: Step) -> None:
        momentum = step.solver.momentum
        nesterov = self.nesterov and momentum > 0
        if not momentum:  # The kernel keeps no history then, but a snapshot has one: all of nothing plus the rest.
            torch._foreach_zero_(group.history[0])
            momentum = 1.0
        rate = step.pace.rate
        if isinstance(rate, Tensor):
            step = decayed(group, step)
        # PyTorch's fused kernel at a rate of 1, given gradients and decay that hold the rate, is Caffe's rule.
        # Dampening takes a share of the gradients as a divisor does, and does not write them anew: a tenth faster.
        if nesterov or isinstance(rate, Tensor) or isinstance(step.scale, Tensor):
            decay = 0.0 if isinstance(rate, Tensor) else rate * step.decay
            dampening, scale = 0.0, divisor(rate * step.scale, group)
        else:
            decay, dampening, scale = step.decay / step.scale, 1 - rate * step.scale, None
        torch._fused_sgd_(
            group.in_memory(group.weights),
            group.in_memory(group.gradients),
            group.in_memory(group.history[0]),
            weight_decay=decay,
            momentum=momentum,
            lr=1.0,
            dampening=dampening,
            nesterov=nesterov,
            maximize=False,
            is_first_step=False,
            grad_scale=scale,
        )


class Nesterov(SGD):
    """V' = momentum V + lr g; w = w - ((1 + momentum) V' - momentum V), which is w - (lr g + momentum V')."""

    nesterov = True


class AdaGrad(Update):
    """h = h + g^2; w = w - lr g / (sqrt(h) + delta) (Duchi et al. 2011)."""

    sees_still_blobs = True

    def move(self, group: Group, step: Step) -> None:
        gradients, (squares,) = regularised(group, step), group.history
        torch._foreach_addcmul_(squares, gradients, gradients)
        _move_by_ratio(group, gradients, squares, step)


class RMSProp(Update):
    """h = rms_decay h + (1 - rms_decay) g^2; w = w - lr g / (sqrt(h) + delta) (Tieleman and Hinton 2012)."""

    sees_still_blobs = True

    def move(self, group: Group, step: Step) -> None:
        gradients, (squares,) = regularised(group, step), group.history
        _average_in(squares, gradients, step.solver.rms_decay)
        _move_by_ratio(group, gradients, squares, step)


class AdaDelta(Update):
    """h = momentum h + (1 - momentum) g^2; d = g sqrt((u + delta) / (h + delta));
    u = momentum u + (1 - momentum) d^2; w = w - lr d (Zeiler 2012). torch.optim.Adadelta's delta is 1e-6."""

    slots = 2
    sees_still_blobs = True

    def move(self, group: Group, step: Step) -> None:
        solver, gradients, (squares, moves) = step.solver, regularised(group, step), group.history
        _average_in(squares, gradients, solver.momentum)
        ratios = torch._foreach_add(moves, solver.delta)
        torch._foreach_div_(ratios, torch._foreach_add(squares, solver.delta))
        torch._foreach_sqrt_(ratios)
        torch._foreach_mul_(ratios, gradients)
        _average_in(moves, ratios, solver.momentum)
        _subtract(group.weights, ratios, step.pace.rate)


class Adam(Update):
    """m = momentum m + (1 - momentum) g; v = momentum2 v + (1 - momentum2) g^2;
    w = w - lr sqrt(1 - momentum2^t) / (1 - momentum^t) m / (sqrt(v) + delta) (Kingma and Ba 2015).

    `momentum` is 0 unless it is given. torch.optim.Adam adds its eps to a v that is corrected already.
    """

    slots = 2
    sees_still_blobs = True
    changing: ClassVar[tuple[str, ...]] = ("corrected",)

    def pace(self, solver: SolverParameter, rate: float, count: int) -> Pace:
        root = math.sqrt(1 - solver.momentum2**count)
        return Pace(rate, count, rate * root / (1 - solver.momentum**count))

    def move(self, group: Group, step: Step) -> None:
        pace, solver = step.pace, step.solver
        if isinstance(pace.corrected, Tensor):  # After so many iterations the kernel corrects nothing.
            _adam(torch._fused_adam_, group, step, pace.corrected, math.inf, solver.delta)
            return
        # The kernel divides sqrt(v) by this root before it adds eps; a delta divided by it as well is Caffe's.
        root = math.sqrt(1 - solver.momentum2**pace.iterations)
        _adam(torch._fused_adam_, group, step, pace.rate, pace.iterations, solver.delta / root)


class AdamW(Adam):
    """w = (1 - lr weight_decay) w, then Adam's step, but with g free of decay and delta added to
    sqrt(v / (1 - momentum2^t)) (Loshchilov and Hutter 2019; torch.optim.AdamW)."""

    sees_still_blobs = False
    changing = ("rate", "iterations")

    def move(self, group: Group, step: Step) -> None:
        _adam(torch._fused_adamw_, group, step, step.pace.rate, step.pace.iterations, step.solver.delta)


class RAdam(Adam):
    """Adam with its rate times r(t), the rectification; while r is not defined yet (the first five iterations or so),
    w = w - lr m / (1 - momentum^t) (Liu et al. 2020; torch.optim.RAdam)."""

    changing = ("rate", "corrected")

    def pace(self, solver: SolverParameter, rate: float, count: int) -> Pace:
        rectification = _rectification(solver.momentum2, count)
        if rectification is None:
            rate = rate / (1 - solver.momentum**count)
            return Pace(rate, count, rate, is_early=True)
        return super().pace(solver, rate * rectification, count)

    def move(self, group: Group, step: Step) -> None:
        if not step.pace.is_early:
            super().move(group, step)
            return
        gradients, (means, squares) = regularised(group, step), group.history
        torch._foreach_lerp_(means, gradients, 1 - step.solver.momentum)
        _average_in(squares, gradients, step.solver.momentum2)
        _subtract(group.weights, means, step.pace.rate)


class LARS(SGD):
    """SGD in which every blob has a rate of its own: lr local_gw_ratio |w| / (|g| + weight_decay |w|), where g is free
    of decay in the divisor (You et al. 2017). Blobs with decay_mult 0 (by custom biases and normalization), and those
    whose |w| or |g| is 0, keep lr."""

    def move(self, group: Group, step: Step) -> None:
        if group.decay_mult:
            lengths = torch._foreach_norm(group.weights)
            slopes = torch._foreach_norm(group.gradients)
            gradients = regularised(group, step)
            for gradient, length, slope in zip(gradients, lengths, slopes, strict=True):
                slope = slope * step.scale
                ratio = step.solver.local_gw_ratio * length / (slope + step.decay * length)
                gradient.mul_(torch.where((length > 0) & (slope > 0), ratio, 1.0))
            step = replace(step, scale=1.0, decay=0.0)
        super().move(group, step)


UPDATES: dict[str, type[Update]] = {
    rule.__name__: rule for rule in (SGD, Nesterov, AdaGrad, RMSProp, AdaDelta, Adam, AdamW, RAdam, LARS)
}
"""The solver types by name."""

NO_MOMENTUM = ("AdaGrad", "RMSProp")
"""The solver types that have no use for `momentum`; Caffe refuses it."""

NO_DIFF = ("AdamW", "LARS")
"""The solver types without a `snapshot_diff`: they do not subtract what depends on gradients and history alone."""


def _average_in(averages: list[Tensor], values: list[Tensor] | tuple[Tensor, ...], kept: float) -> None:
    """averages = kept averages + (1 - kept) values^2."""
    torch._foreach_mul_(averages, kept)
    torch._foreach_addcmul_(averages, values, values, value=1 - kept)


def _move_by_ratio(group: Group, gradients: list[Tensor], squares: list[Tensor], step: Step) -> None:
    """w = w - lr g / (sqrt(squares) + delta)."""
    roots, rate = torch._foreach_sqrt(squares), step.pace.rate
    torch._foreach_add_(roots, step.solver.delta)
    if isinstance(rate, Tensor):
        torch._foreach_div_(roots, rate)
        rate = 1.0
    torch._foreach_addcdiv_(group.weights, gradients, roots, value=-rate)


def _subtract(weights: list[Tensor], moves: list[Tensor] | tuple[Tensor, ...], rate: Number) -> None:
    """w = w - rate move."""
    if isinstance(rate, Tensor):
        torch._foreach_sub_(weights, torch._foreach_mul(moves, rate))
    else:
        torch._foreach_add_(weights, moves, alpha=-rate)


def _adam(kernel: Callable[..., None], group: Group, step: Step, rate: Number, count: Number, eps: float) -> None:
    means, squares = group.history
    if not isinstance(count, Tensor):
        count = torch.full((), float(count), device=group.weights[0].device)
    kernel(
        group.in_memory(group.weights),
        group.in_memory(group.gradients),
        group.in_memory(means),
        group.in_memory(squares),
        [],
        [count] * len(group.weights),
        lr=rate,
        beta1=step.solver.momentum,
        beta2=step.solver.momentum2,
        weight_decay=step.decay,
        eps=eps,
        amsgrad=False,
        maximize=False,
        grad_scale=divisor(step.scale, group),
    )


def _rectification(kept: float, count: int) -> float | None:
    """r(t) of the paper, for momentum2 = `kept`; None while the variance of the rate is not tractable."""
    longest = 2 / (1 - kept) - 1
    length = longest - 2 * count * kept**count / (1 - kept**count)
    if length <= 5:
        return None
    shares = (length - 4) * (length - 2) * longest, (longest - 4) * (longest - 2) * length
    return math.sqrt(shares[0] / shares[1])
