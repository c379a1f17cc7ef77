"""The update rules, rates and diffs against Caffe's own arithmetic, written out in NumPy, over random runs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from netspec import parse_solver
from netspec.blobs import Param
from netspec.schema.netspec_pb2 import SolverParameter
from netspec.solver.rates import learning_rate
from netspec.solver.rules import UPDATES

Array = np.ndarray
Rule = Callable[["Reference", Array, Sequence[Array], float], Array]
ITERATIONS = 8


@dataclass
class Blob:
    """A blob as Caffe has it: one that the loss does not reach has no gradient."""

    data: Array
    lr_mult: float = 1.0
    decay_mult: float = 1.0
    is_reached: bool = True
    is_state: bool = False


class Reference:
    """Caffe's solver without its nets: every blob by itself, in the precision of its numbers."""

    def __init__(self, solver: SolverParameter, blobs: Sequence[Blob]) -> None:
        self.solver, self.blobs, self.iter, self.current_step = solver, blobs, 0, 0
        self.rule, slots = RULES[solver.type]
        self.history = [np.zeros_like(blob.data) for _ in range(slots) for blob in blobs]
        self.diffs = [np.zeros_like(blob.data) for blob in blobs]

    def rate(self) -> float:
        s, base = self.solver, self.solver.base_lr
        if s.lr_policy == "step":
            self.current_step = self.iter // s.stepsize
            return base * s.gamma**self.current_step
        if s.lr_policy == "exp":
            return base * s.gamma**self.iter
        if s.lr_policy == "inv":
            return base * (1 + s.gamma * self.iter) ** -s.power
        if s.lr_policy == "multistep":
            if self.current_step < len(s.stepvalue) and self.iter >= s.stepvalue[self.current_step]:
                self.current_step += 1
            return base * s.gamma**self.current_step
        if s.lr_policy == "poly":
            return base * (1 - self.iter / s.max_iter) ** s.power
        if s.lr_policy == "sigmoid":
            return base / (1 + float(np.exp(-s.gamma * (self.iter - s.stepsize))))
        return base

    def apply(self, gradients: Sequence[Array]) -> None:
        rate = self.rate()
        diffs = [
            gradient.astype(blob.data.dtype) if blob.is_reached else np.zeros_like(blob.data)
            for blob, gradient in zip(self.blobs, gradients, strict=True)
        ]
        norm = np.sqrt(sum((diff**2).sum() for diff in diffs))
        if 0 <= self.solver.clip_gradients < norm:
            diffs = [diff * (self.solver.clip_gradients / norm) for diff in diffs]
        for index, blob in enumerate(self.blobs):
            decay = self.solver.weight_decay * blob.decay_mult
            pull = np.sign(blob.data) if self.solver.regularization_type == "L1" else blob.data
            diff = diffs[index] / self.solver.iter_size + decay * pull
            self.diffs[index] = self.rule(self, diff, self.history[index :: len(self.blobs)], rate * blob.lr_mult)
            blob.data -= self.diffs[index]
        self.iter += 1


def sgd(run: Reference, diff: Array, history: Sequence[Array], rate: float) -> Array:
    history[0][...] = run.solver.momentum * history[0] + rate * diff
    return history[0].copy()


def nesterov(run: Reference, diff: Array, history: Sequence[Array], rate: float) -> Array:
    momentum, before = run.solver.momentum, history[0].copy()
    return (1 + momentum) * sgd(run, diff, history, rate) - momentum * before


def adagrad(run: Reference, diff: Array, history: Sequence[Array], rate: float) -> Array:
    history[0][...] += diff**2
    return rate * diff / (np.sqrt(history[0]) + run.solver.delta)


def rmsprop(run: Reference, diff: Array, history: Sequence[Array], rate: float) -> Array:
    kept = run.solver.rms_decay
    history[0][...] = kept * history[0] + (1 - kept) * diff**2
    return rate * diff / (np.sqrt(history[0]) + run.solver.delta)


def adadelta(run: Reference, diff: Array, history: Sequence[Array], rate: float) -> Array:
    kept, delta = run.solver.momentum, run.solver.delta
    history[0][...] = kept * history[0] + (1 - kept) * diff**2
    change = diff * np.sqrt((history[1] + delta) / (history[0] + delta))
    history[1][...] = kept * history[1] + (1 - kept) * change**2
    return rate * change


def adam(run: Reference, diff: Array, history: Sequence[Array], rate: float) -> Array:
    first, second, t = run.solver.momentum, run.solver.momentum2, run.iter + 1
    history[0][...] = first * history[0] + (1 - first) * diff
    history[1][...] = second * history[1] + (1 - second) * diff**2
    correction = np.sqrt(1 - second**t) / (1 - first**t)
    return rate * correction * history[0] / (np.sqrt(history[1]) + run.solver.delta)


RULES: dict[str, tuple[Rule, int]] = {
    "SGD": (sgd, 1),
    "Nesterov": (nesterov, 1),
    "AdaGrad": (adagrad, 1),
    "RMSProp": (rmsprop, 1),
    "AdaDelta": (adadelta, 2),
    "Adam": (adam, 2),
}

POLICIES = [
    'lr_policy: "fixed"',
    'lr_policy: "step" stepsize: 3 gamma: 0.5',
    'lr_policy: "step" stepsize: 1 gamma: 0',
    'lr_policy: "exp" gamma: 0.7',
    'lr_policy: "inv" gamma: 0.3 power: 0.75',
    'lr_policy: "multistep" gamma: 0.3 stepvalue: 0 stepvalue: 2 stepvalue: 2 stepvalue: 5',
    'lr_policy: "poly" power: 0.5 max_iter: 8',
    'lr_policy: "poly" power: 2 max_iter: 20',
    'lr_policy: "sigmoid" gamma: 0.8 stepsize: 4',
]
TYPES = {
    "SGD": ["", "momentum: 0.9"],
    "Nesterov": ["", "momentum: 0.9"],
    "AdaGrad": ["", "delta: 0.01"],
    "RMSProp": ["", "rms_decay: 0 delta: 0.01", "rms_decay: 0.9"],
    "AdaDelta": ["", "momentum: 0.9", "momentum: 0.95 delta: 1e-6"],
    "Adam": ["", "momentum: 0.9", "momentum: 0.9 momentum2: 0.99 delta: 0.1", "momentum2: 0"],
}
DECAYS = ["", "weight_decay: 0.05", 'weight_decay: 0.05 regularization_type: "L1"']
CLIPS = ["", "clip_gradients: 0.5", "clip_gradients: 1000", "clip_gradients: 0"]
SIZES = ["", "iter_size: 3"]
BLOB = st.tuples(st.sampled_from([1.0, 0.0, 2.0, 0.1]), st.sampled_from([1.0, 0.0, 2.5]), st.booleans(), st.booleans())
"""lr_mult, decay_mult, whether the loss reaches a blob, whether it is a state that every pass changes."""
Multipliers = tuple[float, float, bool, bool]


@st.composite
def solvers(draw: st.DrawFn, solver_type: str) -> SolverParameter:
    """A solver with any options that Caffe takes for a type."""
    parts = [draw(st.sampled_from(options)) for options in (TYPES[solver_type], POLICIES, DECAYS, CLIPS, SIZES)]
    rate = draw(st.sampled_from([0.1, 1.0, 1e-4, 0.0]))
    diff = draw(st.sampled_from(["", "snapshot_diff: true"]))
    return parse_solver(f'type: "{solver_type}" base_lr: {rate} {diff} {" ".join(parts)}')


def gradients(seed: int, shapes: Sequence[tuple[int, ...]]) -> Iterator[list[Array]]:
    """Gradients of one of many sizes, some of them 0, for every iteration."""
    draw = np.random.default_rng(seed)
    size = draw.choice([1e-12, 1e-4, 1.0, 100.0, 1e12])
    for iteration in range(ITERATIONS):
        drawn = [np.float32(size * draw.standard_normal(shape)) for shape in shapes]
        yield [one * 0 if draw.random() < 0.1 or iteration == 3 else one for one in drawn]


def assert_close(ours: Array, theirs: Array, scale: Array, tolerance: float, what: str) -> None:
    """Equal to a part of the largest number in `scale`: what was there before, where numbers may cancel."""
    atol = tolerance * max(np.abs(scale).max(initial=0), np.abs(theirs).max(initial=0), 1e-30)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol, err_msg=what)


def blobs_of(multipliers: Sequence[Multipliers], draw: np.random.Generator, precision: type) -> list[Blob]:
    """Blobs of any shapes."""
    return [
        Blob(
            np.array(draw.standard_normal(draw.integers(1, 4, draw.integers(0, 4))).astype(np.float32), precision),
            0.0 if is_state else lr_mult,
            decay_mult,
            is_reached and not is_state and lr_mult != 0,
            is_state,
        )
        for lr_mult, decay_mult, is_reached, is_state in multipliers
    ]


@pytest.mark.parametrize("solver_type", TYPES)
@settings(max_examples=30)
@given(data=st.data(), multipliers=st.lists(BLOB, min_size=1, max_size=6), seed=st.integers(0, 2**31))
def test_every_iteration_is_caffes(
    solver_type: str, data: st.DataObject, multipliers: list[Multipliers], seed: int
) -> None:
    """Whatever the options: weights, history and what was subtracted from the weights, after every iteration."""
    solver = data.draw(solvers(solver_type))
    blobs = blobs_of(multipliers, np.random.default_rng(seed), data.draw(st.sampled_from([np.float32, np.float64])))
    tensors = [torch.tensor(blob.data, dtype=torch.float32, requires_grad=blob.lr_mult != 0) for blob in blobs]
    params = [
        Param("layer", tensor, blob.lr_mult, blob.decay_mult) for tensor, blob in zip(tensors, blobs, strict=True)
    ]
    update, reference = UPDATES[solver_type](params), Reference(solver, blobs)
    for iteration, drawn in enumerate(gradients(seed, [blob.data.shape for blob in blobs])):
        for tensor, blob, gradient in zip(tensors, blobs, drawn, strict=True):
            tensor.grad = torch.tensor(gradient) if blob.is_reached else None
            if blob.is_state:
                blob.data[...] = blob.data * 0.5 + 1
                tensor.mul_(0.5).add_(1)
        before = [tensor.detach().numpy().copy() for tensor in (*tensors, *update.history)]
        update.apply(solver, learning_rate(solver, iteration), iteration)
        reference.apply(drawn)
        after = [tensor.detach().numpy() for tensor in (*tensors, *update.history)]
        theirs = [*(blob.data for blob in blobs), *reference.history]
        for index, what in enumerate(zip(after, theirs, before, strict=True)):
            assert_close(*what, 1e-5, f"{index} of {len(blobs)} blobs and then history, after iteration {iteration}")
        for tensor, diff in zip(tensors, reference.diffs, strict=True) if solver.snapshot_diff else ():
            if tensor.grad is not None:
                assert_close(tensor.grad.numpy(), diff, diff, 1e-4, f"diff of iteration {iteration}")
        # Start the next iteration from the same numbers: what is compared is rules, not how their errors grow.
        for mine, their in zip(after, theirs, strict=True):
            their[...] = mine
