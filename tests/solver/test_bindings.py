"""Operations are called by Python's own functions where these do just the same."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from netspec.solver import bindings
from netspec.solver.bindings import call

aten = torch.ops.aten
X = torch.arange(6.0).view(2, 3)


@pytest.mark.parametrize(
    ("operation", "args", "kwargs", "expected"),
    [
        (aten.permute.default, (X, [1, 0]), {}, torch.permute),
        (aten.mul.Tensor, (X, 2.5), {}, torch.mul),
        (aten.sum.dim_IntList, (X, [0], True), {}, torch.sum),
        (aten.max.dim, (X, 1), {}, torch.max),
        (aten.cat.default, ([X, X], 1), {}, torch.cat),
        (aten.view.default, (X, [3, 2]), {}, Tensor.view),
        (aten.add.out, (X, X), {"out": torch.empty(2, 3)}, torch.add),
        (aten.threshold_backward.default, (X, X, 2), {}, aten.threshold_backward.default),
    ],
)
def test_the_function_that_is_called(operation: Any, args: Any, kwargs: Any, expected: Callable[..., Any]) -> None:
    """What is called in place of an operation computes what the operation does; without such a function it is the
    operation."""
    called, result = call(operation, args, kwargs)
    assert called == expected
    for made in (operation(*args, **kwargs), called(*args, **kwargs)):
        assert [part.tolist() for part in result] == [part.tolist() for part in made]


def _is_done_in_place() -> Tensor:
    x = torch.ones(3)
    call(aten.add_.Tensor, (x, 1), {})
    return x


@pytest.mark.parametrize(
    "function",
    [
        lambda x, y: torch.sub(x, y),
        lambda x, y: torch.add(y, x),
        lambda x, y: torch.add(x, y, alpha=2),
        lambda x, y: torch.add(x, 1.0),
        lambda x, y: torch.add(torch.add(x, y), y),
        lambda x, y: x,
        lambda x: x,
    ],
    ids=["other", "swapped", "number", "no tensor", "twice", "nothing", "arguments"],
)
def test_a_function_that_does_not_do_the_same(function: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A function of the same name that calls anything else is not taken, and the operation is done once all the
    same."""
    monkeypatch.setattr(bindings, "_PLACES", (type("Place", (), {"add": staticmethod(function)}),))
    called, result = call(aten.add.Tensor, (X, X.clone()), {})
    assert called is aten.add.Tensor and result.tolist() == (2 * X).tolist()


def test_an_operation_is_done_once() -> None:
    """What works in place does so once, by whatever name it is called, and errors are those of the operation."""
    assert _is_done_in_place().tolist() == [2, 2, 2]
    with pytest.raises(IndexError, match="Dimension out of range"):
        call(aten.sum.dim_IntList, (X, [7]), {})
