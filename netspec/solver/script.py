"""Operations in TorchScript, whose interpreter calls them one after another without Python."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch._C import Graph, ScriptFunction, TupleType, Value
from torch.utils._pytree import tree_leaves

_MEMORY_FORMATS = (torch.contiguous_format, torch.preserve_format, torch.channels_last, torch.channels_last_3d)
"""In the order of the numbers that TorchScript has in their place."""

_VIEW_AS_TYPE = "netspec::view_as_type"
torch.library.define(_VIEW_AS_TYPE, "(Tensor(a) x, ScalarType dtype) -> Tensor(a)")


@torch.library.impl(_VIEW_AS_TYPE, "default")
def _view_as_type(x: Tensor, dtype: torch.dtype) -> Tensor:
    """The one view that TorchScript lacks."""
    return x.view(dtype)


class UnknownToScriptError(Exception):
    """An operation that TorchScript does not know."""


def scripted(graph: fx.Graph) -> ScriptFunction[..., tuple[Any, ...]]:
    """A function of tensors, the placeholders of a graph of operations, that does them as they stand, and returns the
    leaves of the graph's output as a tuple. UnknownToScriptError."""
    return torch._C._create_function_from_graph("operations", _Writer(graph).script)


class _Writer:
    """Writes the nodes of a graph down as TorchScript's."""

    def __init__(self, graph: fx.Graph) -> None:
        self.script = Graph()
        self._values: dict[fx.Node, list[Value]] = {}
        for node in graph.nodes:
            if node.op == "placeholder":
                self._values[node] = [self.script.addInput(node.name)]
            elif node.op == "output":
                self._return(tree_leaves(node.args))
            elif node.target is operator.getitem:
                self._values[node] = [self._part(*node.args)]
            else:
                self._values[node] = self._call(node)

    def _call(self, node: fx.Node) -> list[Value]:
        operation: Any = node.target
        schema = operation._schema
        names = [argument.name for argument in schema.arguments]
        given = dict(zip(names, node.args), **node.kwargs)  # noqa: B905  # fewer where the others are as by default
        inputs = [
            self._input(given.get(argument.name, argument.default_value), argument.type)
            for argument in schema.arguments
        ]
        name = _VIEW_AS_TYPE if operation is torch.ops.aten.view.dtype else schema.name
        return self._add(name, inputs, [made.type for made in schema.returns])

    def _add(self, kind: str, inputs: Sequence[Value], types: Sequence[Any]) -> list[Value]:
        node = self.script.appendNode(self.script.create(kind, inputs, len(types)))
        if not kind.startswith("prim::") and node.schema() == "(no schema)":
            raise UnknownToScriptError(f"TorchScript does not know {kind} as it is called here")
        return [value.setType(type_) for value, type_ in zip(node.outputs(), types, strict=True)]

    def _input(self, given: Any, type_: Any) -> Value:
        """What stands for an argument of a type."""
        if isinstance(given, fx.Node):
            return self._values[given][0]
        if type_.kind() == "OptionalType" and given is not None:
            type_ = type_.getElementType()
        if type_.kind() == "ListType" and ("Tensor" in str(type_) or not given):
            entries = [self._input(entry, type_.getElementType()) for entry in given]
            return self._add("prim::ListConstruct", entries, [type_])[0]
        return self._constant(_MEMORY_FORMATS.index(given) if isinstance(given, torch.memory_format) else given)

    def _constant(self, given: Any) -> Value:
        try:
            value: Value = self.script.insertConstant(given)  # type: ignore[attr-defined]
        except TypeError as error:
            raise UnknownToScriptError(f"TorchScript knows no {type(given).__name__}") from error
        return value

    def _part(self, node: fx.Node, index: int) -> Value:
        """One of several results: of its own, or in a list."""
        values = self._values[node]
        if str(values[0].type()) != "List[Tensor]":
            return values[index]
        return self._add("aten::__getitem__", [values[0], self._constant(index)], [torch._C.TensorType.get()])[0]

    def _return(self, leaves: Sequence[Any]) -> None:
        results = [self._values[leaf][0] if isinstance(leaf, fx.Node) else self._constant(leaf) for leaf in leaves]
        types = TupleType([result.type() for result in results])
        self.script.registerOutput(self._add("prim::TupleConstruct", results, [types])[0])
