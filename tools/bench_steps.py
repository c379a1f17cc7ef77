"""Training on a batch that stays: netspec against the plain loop and against the one tuned by hand, in one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import torch
from bench_loop import DECAY, MOMENTUM, RATE, Work, resting
from bench_plain import Plain
from bench_resident import RESIDENT
from bench_rounds import Here, Result, Settings, Turn, run_rounds
from torch import Tensor, nn

from netspec import Solver
from netspec.forms import PLAIN
from netspec.layers.activation import Dropout
from netspec.schema.netspec_pb2 import Precision, SolverParameter

ZOO = Path(__file__).resolve().parents[1] / "zoo"

TAX = {"cpu": 0.98, "cuda": 0.99}
"""The marks against the tuned loop, by the kind of device: what the engine may cost."""

FAST = {
    "cpu": {
        "nin": 5.5, "nin_imagenet": 1.5, "alexnet": 1.8, "resnet18": 1.45, "resnet18_3x3": 4.5, "vgg16": 3.7,
        "googlenet": 2.3, "densenet161": 2.1,
    },
    "cuda": {
        "nin": 5, "nin_imagenet": 5, "alexnet": 5, "resnet18": 4, "resnet18_3x3": 4, "vgg16": 1.3, "googlenet": 5,
        "densenet161": 3,
    },
}  # fmt: skip
"""The marks of the fast mode against the plain loop, which on a GPU computes in BF16 then."""

_FIELDS = {"exact": "exact=true", "default": "exact=false", "fast": "fast=true"}
_CHECKED_ITERATIONS = 3
_LONG = 1 << 30  # iterations: a run that is worth every preparation


class Checked(Protocol):
    """A side that also tells its losses."""

    def turn(self, iterations: int) -> Turn: ...

    def losses(self, iterations: int) -> list[float]: ...


def measure_step(name: str, settings: Settings) -> list[Result]:
    """The speed of training on a resident batch against that of the tuned loop, and of the plain one."""
    solver = open_solver(name, settings, RESIDENT)
    fill(solver)
    work = work_of(name, solver, settings)
    forms = take_forms(solver)
    is_bf16 = solver.speed.precision == Precision.BF16
    with Plain(work) as plain:
        tuned = Tuned(work, forms, is_bf16, solver.net.memory_format)
        sides: Mapping[str, Checked] = {"plain loop": plain, "tuned loop": tuned, "netspec": Ours(solver, settings)}
        check_losses(name, sides, is_bf16)
        rounds = run_rounds(list(sides.values()), settings)
    solver.close()
    against_plain = {"exact": 1.0, "default": None, "fast": FAST[settings.kind][name]}[settings.mode]
    return [
        rounds.result(name, f"{settings.mode} step / tuned loop's", (1, 2), settings.batch, TAX[settings.kind]),
        rounds.result(name, f"{settings.mode} step / plain loop's", (0, 2), settings.batch, against_plain),
    ]


def open_solver(name: str, settings: Settings, *changes: str) -> Solver:
    """netspec's side: a net of the zoo with its data layer changed."""
    param = SolverParameter(
        net=str(ZOO / f"{name}.prototxt"), base_lr=RATE, lr_policy="fixed", momentum=MOMENTUM, weight_decay=DECAY,
        max_iter=_LONG, display=20, average_loss=20, random_seed=1,
    )  # fmt: skip
    changes = (f"data@TRAIN.data_param.batch_size={settings.batch}", _FIELDS[settings.mode], *changes)
    return Solver(param, device=settings.device, settings=changes)


def fill(solver: Solver) -> None:
    """Give the weights a size at which the loss depends on every layer: with AlexNet's own it is log 200 at first,
    whatever the layers do."""
    for weight in solver.update.weights:
        if weight.dim() > 1:
            nn.init.kaiming_normal_(weight, nonlinearity="relu")


def work_of(name: str, solver: Solver, settings: Settings) -> Work:
    """What the other sides train: the weights of netspec's net and a batch of its data. On a GPU everybody's fast loop
    computes in BF16."""
    params = [param for param in solver.net.params if param.tensor.requires_grad]
    images, labels = solver.net.sources[0][1].next()
    return Work(
        name,
        settings.device,
        [param.tensor.detach().cpu().numpy().copy() for param in params],
        [(param.lr_mult, param.decay_mult) for param in params],
        images.cpu().contiguous().numpy(),
        labels.long().cpu().numpy(),
        settings.mode == "fast" and settings.kind == "cuda",
    )


def take_forms(solver: Solver) -> dict[str, list[str]]:
    """Let netspec choose the forms of its layers, as it does at the start of a long run. Those of all layers, in order,
    by type: that of a row stands at its first layer, that of branches at what joins them."""
    solver.tune(_LONG)
    chosen = solver.net.forms
    taken = [site for site in solver.net.sites if site.key in chosen]
    names = {site.layers[-1 if len(site.reads) > 1 else 0].key: chosen[site.key] for site in taken}
    forms: dict[str, list[str]] = {}
    for layer in solver.net.compiled.layers:
        forms.setdefault(layer.node.param.type, []).append(names.get(layer.key, PLAIN))
    return forms


class Tuned(Here):
    """The tuned loop, which shares netspec's process."""

    def __init__(
        self, work: Work, forms: Mapping[str, Sequence[str]], is_bf16: bool, layout: torch.memory_format
    ) -> None:
        loop = work.tuned_loop(forms, is_bf16, layout)
        super().__init__(loop, work.device)
        self.losses = loop.losses


class Ours(Here):
    """netspec's solver."""

    def __init__(self, solver: Solver, settings: Settings) -> None:
        super().__init__(solver, settings.device)
        self._solver = solver

    def losses(self, iterations: int) -> list[float]:
        """As `Loop.losses`."""
        net, found = self._solver.net, list[Tensor]()
        hook = net.register_forward_hook(lambda net, inputs, out: found.append(out["loss"].detach()))
        with resting([(module, "ratio") for module in net.modules() if isinstance(module, Dropout)]):
            self._solver.step(iterations)
        hook.remove()
        self._solver.tune(_LONG)  # what was captured meanwhile has no dropout
        return [float(loss) for loss in found]


def check_losses(name: str, sides: Mapping[str, Checked], is_bf16: bool) -> None:
    """End the program unless all sides have netspec's losses in their first iterations."""
    losses: Mapping[str, Sequence[float]] = {side: sides[side].losses(_CHECKED_ITERATIONS) for side in sides}
    first, *_ = ours = losses["netspec"]
    equal, moved = (2e-2, 0.0) if is_bf16 else (1e-5, 0.02)
    # In 16 bits gradients differ too much to compare what comes after an update.
    for iteration, own in enumerate(ours[:1] if is_bf16 else ours):
        # Rounding grows where the loss falls steeply: from the second iteration on, it must have moved as far.
        most = equal * abs(own) + moved * abs(own - first)
        for side, theirs in losses.items():
            if abs(theirs[iteration] - own) > most:
                reason = f"the loss is {own:.7g} in netspec and {theirs[iteration]:.7g} in the {side}"
                raise SystemExit(f"{name}: in iteration {iteration} {reason}")
