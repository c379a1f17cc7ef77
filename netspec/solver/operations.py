"""The operations of a function, as a program that does them again."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_aggregate
from torch.utils.weak import WeakTensorKeyDictionary

from netspec.solver.bindings import LightMode, call

_DETACH = torch.ops.aten.detach.default
_LOOKS_AT_VALUES = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}


class Operations(LightMode):
    """Writes down what PyTorch computes in this context: the operations below autograd, forward, backward and in place,
    each with the numbers that Python gives it. `reason` says what keeps them from being done again, if anything: one
    that gives Python a number, or whose shape depends on values."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._graph = fx.Graph()
        # Weak, so that memory is freed as soon as without.
        self._nodes = WeakTensorKeyDictionary()
        self._outside: list[Tensor] = []
        self._views: dict[object, fx.Node] = {}
        self.reason = ""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        called, result = call(func, args, kwargs)
        if _LOOKS_AT_VALUES.intersection(func.tags):
            self.reason = f"{func.name()} looks at values"
        elif func is _DETACH:
            self._nodes[result] = self._node(args[0])
        else:
            self._write_down(called, func.is_view, args, kwargs, result)
        return result

    def _write_down(self, called: Any, is_view: bool, args: Any, kwargs: Any, result: Any) -> None:
        node = self._graph.call_function(called, *map_aggregate((args, kwargs), self._node))
        if is_view and all(given.op == "placeholder" for given in node.all_input_nodes):
            self._graph.erase_node(node)  # the view is from outside too
            return
        if is_view and (known := self._views.setdefault((called, node.args, *node.kwargs.items()), node)) is not node:
            self._graph.erase_node(node)
            node = known
        if isinstance(result, Tensor):
            self._nodes.setdefault(result, node)  # type: ignore[no-untyped-call]  # in place it is an argument
        else:
            for index, made in enumerate(result or ()):
                if made is not None:
                    self._nodes[made] = self._graph.call_function(operator.getitem, (node, index))

    def _node(self, given: Any) -> Any:
        """What stands in the program for a tensor; numbers stand for themselves."""
        if not isinstance(given, Tensor):
            return given
        if given not in self._nodes:
            self._nodes[given] = self._graph.placeholder(f"outside_{len(self._outside)}")
            self._outside.append(given)
        return self._nodes[given]

    def program(self, result: Any) -> Program:
        """What does the operations again, and returns what then became of the tensors of `result`."""
        self._graph.output(map_aggregate(result, self._node))
        return Program(self._graph, self._outside)


class Program:
    """Operations on tensors from `outside`, which are read anew in each call and must keep their place."""

    def __init__(self, graph: fx.Graph, outside: list[Tensor]) -> None:
        self._module, self._outside = fx.GraphModule(nn.Module(), graph), outside

    def __call__(self) -> Any:
        return self._module.forward(*self._outside)

    @property
    def code(self) -> str:
        """The operations as Python, one a line."""
        return str(self._module.code)

    def is_same(self, other: Program) -> bool:
        """Whether another does the same, with the same numbers from Python and the same tensors from outside."""
        return self.code == other.code and all(map(Tensor.is_set_to, self._outside, other._outside))
