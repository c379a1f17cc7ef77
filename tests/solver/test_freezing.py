"""Layers that learn later, or not at all."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from netspec import Solver, SpecError

Build = Callable[..., Solver]


def freeze(*rules: tuple[str, int | None]) -> list[str]:
    """Settings for rules of a pattern and an iteration each."""
    texts = [f'{{ layer: "{name}"' + ("}" if until is None else f" until: {until} }}") for name, until in rules]
    return [f"freeze=[{', '.join(texts)}]"]


def changed(solver: Solver, iterations: int) -> set[str]:
    """The layers whose weights change over some iterations."""
    before = {param.layer: param.tensor.detach().clone() for param in solver.net.params if param.lr_mult}
    solver.step(iterations)
    after = {param.layer: param.tensor.detach() for param in solver.net.params if param.lr_mult}
    return {layer for layer, blob in before.items() if not torch.equal(blob, after[layer])}


def test_layers_are_let_loose_one_after_the_other(solver_of: Build) -> None:
    """A layer does not change before its iteration, one without an iteration never does."""
    layers = {param.layer for param in solver_of().net.params if param.lr_mult}
    first, second, *_ = sorted(layers)
    solver = solver_of(settings=freeze((first, 6), (second, None)))
    assert changed(solver, 6) == layers - {first, second}
    assert changed(solver, 3) == layers - {second}


def test_names_may_be_patterns_and_the_latest_iteration_counts(solver_of: Build) -> None:
    """`*` stands for any characters; a layer that two rules name waits for the later one."""
    solver = solver_of(settings=freeze(("conv*", 2), ("conv1", 4)))
    others = changed(solver, 2)
    assert not any(layer.startswith("conv") for layer in others)
    assert "conv1" not in changed(solver, 2)
    assert "conv1" in changed(solver, 1)


def test_what_is_frozen_has_no_backward(solver_of: Build) -> None:
    """The tops of the layers below the lowest one that learns take no gradient, so that backward ends there."""
    solver = solver_of(settings=freeze(("*conv*", None), ("scale*", None)))
    solver.step(1)
    learning = {param.layer for param in solver.net.params if param.tensor.requires_grad}
    assert learning and all(param.tensor.grad is None for param in solver.net.params if param.layer not in learning)
    with_gradient: dict[str, bool] = {}
    for name, layer in solver.net.layers.items():
        layer.register_forward_hook(
            lambda module, bottoms, top, name=name: with_gradient.update({name: top.requires_grad})
        )
    solver.net()
    names = list(with_gradient)
    lowest = min(names.index(name) for name in learning)
    assert lowest > 3 and [with_gradient[name] for name in names[:lowest]] == [False] * lowest
    assert with_gradient[names[lowest]]


def test_a_layer_that_thaws_starts_adam_from_its_first_iteration(solver_of: Build) -> None:
    """Its first move is the rate, as Adam's first always is, however late it comes."""
    solver = solver_of(
        type="Adam", momentum=0.9, weight_decay=0, lr_policy="fixed", base_lr=0.01, settings=freeze(("conv1", 5))
    )
    solver.step(5)
    before = solver.net.layer_params["conv1"][0].detach().clone()
    solver.step(1)
    steps = (solver.net.layer_params["conv1"][0].detach() - before).abs()
    assert steps.max() == pytest.approx(0.01, rel=1e-3)


def test_a_freeze_of_nothing(solver_of: Build) -> None:
    """A rule without a layer is refused."""
    with pytest.raises(SpecError, match="freeze names no layer"):
        solver_of(settings=["freeze={ until: 5 }"])


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ([("con1", 5)], 'freeze: the train net has no layer "con1" with blobs'),
        ([("*", None)], "freeze: no layer learns"),
        ([("*", 5)], "freeze: no layer learns before iteration 5"),
        ([("conv1", -5)], "until must be at least 0, not -5"),
    ],
)
def test_a_freeze_that_cannot_be_meant(solver_of: Build, rules: list[Any], reason: str) -> None:
    """A name that fits nothing, and a net of which nothing is left to learn, are refused."""
    with pytest.raises(SpecError, match=reason.replace("*", r"\*")):
        solver_of(settings=freeze(*rules))
