"""The operations of a function, as a program that does them again."""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.node import map_aggregate
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_structure, tree_unflatten
from torch.utils.weak import WeakTensorKeyDictionary

from netspec.solver.script import UnknownToScriptError, scripted

_DETACH = torch.ops.aten.detach.default
_LOOKS_AT_VALUES = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}


class Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes down what PyTorch computes in this context: the operations below autograd, forward, backward and in place,
    each with the numbers that Python gives it. `reason` says what keeps them from being done again, if anything: one
    that gives Python a number, whose shape depends on values, or that TorchScript does not know."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._graph = fx.Graph()
        # Weak, so that memory is freed as soon as without.
        self._nodes = WeakTensorKeyDictionary()
        self._outside: list[Tensor] = []
        self._views: dict[object, fx.Node] = {}
        self.reason = ""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """PyTorch asks; it would load its compiler, which takes seconds, only to keep it out of what is below."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if _LOOKS_AT_VALUES.intersection(func.tags):
            self.reason = f"{func.name()} looks at values"
        elif func is _DETACH:
            self._nodes[result] = self._node(args[0])
        elif not isinstance(result, (int, float)):  # a number of types and shapes is the same each time
            self._write_down(func, args, kwargs, result)
        return result

    def _write_down(self, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        node = self._graph.call_function(func, *map_aggregate((args, kwargs), self._node))
        if func.is_view and all(given.op == "placeholder" for given in node.all_input_nodes):
            self._graph.erase_node(node)  # the view is from outside too
            return
        key = func, node.args, *node.kwargs.items()
        if func.is_view and (known := self._views.setdefault(key, node)) is not node:
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

    def program(self, result: Any) -> Program | None:
        """What does the operations again, and returns what then became of the tensors of `result`; None where there is
        a reason against it."""
        self._graph.output(map_aggregate(result, self._node))
        try:
            return None if self.reason else Program(self._graph, self._outside, result)
        except UnknownToScriptError as error:
            self.reason = str(error)
            return None


class Program:
    """Operations on tensors from `outside`, which are read anew in each call and must keep their place. What they make
    is given back as `result` holds it."""

    def __init__(self, graph: fx.Graph, outside: list[Tensor], result: Any) -> None:
        self.code, self._outside, self._structure = str(graph), outside, tree_structure(result)
        self._function = scripted(graph)

    def __call__(self) -> Any:
        with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]  # as it stands, to the bit
            return tree_unflatten(self._function(*self._outside), self._structure)

    def is_same(self, other: Program) -> bool:
        """Whether another does the same, with the same numbers from Python and the same tensors from outside."""
        return self.code == other.code and all(map(Tensor.is_set_to, self._outside, other._outside))
