"""Operations that are written down are done again as they were."""

import re
import subprocess
import sys
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from fake_recorder import tensors
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._pytree import tree_leaves

from netspec.solver.operations import Operations, Program


class Steps:
    """Functions of tensors that stay; each returns what it has made."""

    def __init__(self) -> None:
        torch.manual_seed(1)
        self.images, self.labels = torch.randn(4, 3, 6, 6), torch.tensor([0, 1, 2, 1])
        self.conv, self.ip = nn.Conv2d(3, 8, 3), nn.Linear(8, 3)
        self.mean = torch.zeros(8)

    def _gradients(self) -> list[Tensor | None]:
        return [weight.grad for module in (self.conv, self.ip) for weight in module.parameters()]

    def forward(self) -> Any:
        return self.conv(self.images).detach()

    def both_ways(self) -> Any:
        self.conv.zero_grad()
        self.ip.zero_grad()
        hidden = self.conv(self.images).relu_().amax((2, 3))
        loss = F.cross_entropy(self.ip(hidden), self.labels)
        loss.backward()
        return {"hidden": hidden.detach()}, loss.detach(), self._gradients()

    def several_outputs(self) -> Any:
        left, _, right = self.images.split(1, 1)
        pooled, places = F.max_pool2d(left * right, 2, return_indices=True)
        return pooled, [places]

    def in_place(self) -> Any:
        with torch.no_grad():
            hidden = self.conv(self.images)
            self.mean.mul_(0.9).add_(hidden.mean((0, 2, 3)), alpha=0.1)
            hidden[:, ::2].zero_()
            return torch.add(hidden, 1, out=torch.empty_like(hidden)), self.mean

    def drawn(self) -> Any:
        bits = torch.empty(64, dtype=torch.int64).random_(-(2**63), None)
        return bits, torch.rand(3), F.dropout(self.images, 0.5)

    def by_its_type(self) -> Any:
        return self.images.to(torch.promote_types(torch.bfloat16, self.images.dtype)) * 2

    def views_of_weights(self) -> Any:
        return self.images.view(-1, 3) @ self.ip.weight.detach().view(-1, 3).T

    def numbers(self) -> Any:
        return self.images / float("inf"), self.images.clamp(max=float("inf")), self.images.to(torch.float64)

    def lists(self) -> Any:
        stacked = torch.stack([self.images, self.images * 2])
        return (
            torch.cat([*stacked.unbind(), self.images], 1),
            torch._foreach_mul([self.images], 3.0),
            stacked.sum().view([]),
        )

    def types(self) -> Any:
        words = torch.full((3,), 2**40, dtype=torch.int64)
        words.view(torch.int16)[::4].fill_(7)
        return words, self.images.double().to(torch.complex128) * 2j

    def layouts(self) -> Any:
        return self.images.to(memory_format=torch.channels_last), torch.empty_like(self.conv.weight).fill_(1)

    def nothing(self) -> Any:
        return None

    def in_16_bits(self) -> Any:
        self.conv.zero_grad()
        self.ip.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = self.ip(self.conv(self.images).mean((2, 3))).square().sum()
        loss.backward()
        return loss.detach(), self._gradients()


NAMES = [name for name in vars(Steps) if not name.startswith("_")]


def written(function: Callable[[], Any]) -> tuple[Program, Any]:
    """The program of a function, and what it returned meanwhile."""
    with Operations() as operations:
        result = function()
    program = operations.program(result)
    assert program, operations.reason
    return program, result


@pytest.mark.parametrize("name", NAMES)
def test_a_program_does_the_same(name: str) -> None:
    """With other values in the tensors from outside, a program makes what the function makes of them, to the bit and in
    the same layout, draws the same numbers and leaves the same in place."""
    plain, followed = Steps(), Steps()
    first = getattr(plain, name)()
    torch.manual_seed(1)
    Steps()  # draws what both drew before
    program, result = written(getattr(followed, name))
    made = [(first, result)]
    for seed in (2, 3):
        results = []
        for steps, run in ((plain, getattr(plain, name)), (followed, program)):
            torch.manual_seed(seed)
            steps.images.normal_()
            steps.conv.weight.data.normal_()
            with torch.set_grad_enabled(steps is plain):
                results.append(run())
        made.append(tuple(results))
    for expected, again in made:
        for one, other in zip(tensors(expected), tensors(again), strict=True):
            assert torch.equal(one, other) and one.stride() == other.stride()
    assert torch.equal(plain.mean, followed.mean)


@pytest.mark.parametrize(
    "look",
    [Tensor.item, bool, Tensor.nonzero, lambda x: x[x > 0], torch.unique, lambda x: torch.equal(x, x)],
    ids=["item", "bool", "nonzero", "mask", "unique", "equal"],
)
def test_a_look_at_values_is_refused(look: Callable[[Tensor], object]) -> None:
    """What Python then does, or a shape, might be another the next time."""
    with Operations() as operations:
        look(torch.ones(1))
    assert operations.reason.endswith(" looks at values")


def test_what_torchscript_lacks_is_refused() -> None:
    """The reason names it."""
    with Operations() as operations:
        result = torch.empty(0).set_(torch.ones(3).untyped_storage())
    assert operations.program(result) is None
    assert operations.reason == "TorchScript knows no UntypedStorage"


def test_memory_is_freed_meanwhile() -> None:
    """Nothing lives longer because it is written down; gradients become the weights' own, as they do without."""
    steps, alive = Steps(), []

    def function() -> Any:
        hidden = steps.conv(steps.images)
        watched = weakref.ref(hidden)
        top = hidden.exp()
        del hidden
        alive.append(watched() is not None)
        top.sum().backward()
        return steps.conv.weight.grad

    program, _ = written(function)
    assert alive == [False] and "copy_" not in program.code


def test_what_computes_nothing_is_left_out() -> None:
    """Views of what is there before are taken once, and detaching is not done again."""
    program, _ = written(Steps().views_of_weights)
    assert re.findall(r"aten\.\w+", program.code) == ["aten.mm"]
    assert "detach" not in written(Steps().both_ways)[0].code


def test_a_view_is_taken_once() -> None:
    """The same view of the same tensor is taken once, another one is not it, and all see what is written later."""
    x = torch.zeros(4, 2)

    def function() -> Any:
        y = x + 1
        first, other = y.view(2, 4), y.view(8)
        y.mul_(3)
        return first, y.view(2, 4) + 0, other, [part + 0 for part in (*y.unbind(1), *y.unbind(1))]

    program, _ = written(function)
    assert [program.code.count(f"aten.{name}.") for name in ("view", "unbind")] == [2, 1]
    x.fill_(1)
    for one, again in zip(tree_leaves(function()), tree_leaves(program()), strict=True):
        assert torch.equal(one, again)


def test_the_same_program_is_known() -> None:
    """Another number, another operation, or another tensor from outside makes another program; the same function does
    not."""
    held = torch.ones(3)

    def program(number: float = 2.0, tensor: Tensor = held, more: bool = False) -> Program:
        return written(lambda: tensor.view(3, 1)[1:] * number + (tensor if more else 1))[0]

    assert program().is_same(program())
    assert not program().is_same(program(3.0))
    assert not program().is_same(program(tensor=torch.ones(3)))
    assert not program().is_same(program(more=True))


def test_the_compiler_stays_unloaded() -> None:
    """Writing down does not load torch.compile, which takes seconds."""
    code = """if True:
        import sys, torch
        from netspec.solver.operations import Operations
        with Operations() as operations:
            result = torch.ones(3) * 2
        assert operations.program(result)().tolist() == [2, 2, 2]
        print("torch._dynamo" in sys.modules)"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
