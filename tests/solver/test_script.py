"""Graphs of operations as TorchScript; tests/solver/test_operations.py has what they compute."""

from typing import Any

import pytest
import torch
from torch import fx

from netspec.solver.script import UnknownToScriptError, scripted

aten = torch.ops.aten


def graph(operation: Any, *args: Any) -> fx.Graph:
    """A graph of one operation on a tensor from outside."""
    made = fx.Graph()
    x = made.placeholder("x")
    made.output((made.call_function(operation, (x, *args)), {"given": x, "none": None}))
    return made


def test_leaves_come_as_a_tuple() -> None:
    """Results, what was given, and what is no tensor, in the order of the graph's output."""
    made, given, none = scripted(graph(aten.mul.Tensor, 2.5))(x := torch.ones(3))
    assert made.tolist() == [2.5] * 3 and given is x and none is None


def test_a_view_as_another_type_is_a_view() -> None:
    """It looks at the same memory."""
    view, words, _ = scripted(graph(aten.view.dtype, torch.int16))(torch.zeros(2, dtype=torch.int64))
    view[4] = 5
    assert words.tolist() == [0, 5]


@pytest.mark.parametrize(
    ("operation", "argument", "reason"),
    [(aten.view.default, 3, "does not know aten::view as it"), (aten.mul.Tensor, object(), "knows no object")],
)
def test_what_it_does_not_know(operation: Any, argument: Any, reason: str) -> None:
    """An error at once, not at the first call."""
    with pytest.raises(UnknownToScriptError, match=f"TorchScript {reason}"):
        scripted(graph(operation, argument))
