"""Layers in a row that compute value by value, through torch.compile: one pass over memory instead of one each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

import torch
from torch import Tensor

from netspec.compiler import BuiltLayer, Compiled
from netspec.forms.base import Form, Site, in_turn
from netspec.forms.places import continued
from netspec.layers.base import Layer, Shape

_BY_VALUE = (
    "AbsVal", "BNLL", "Bias", "Clip", "Dropout", "ELU", "Eltwise", "Exp", "Log", "PReLU", "Power", "ReLU", "ReLU6",
    "Scale", "Sigmoid", "Swish", "TanH", "Threshold",
)  # fmt: skip


class Block(Form):
    """A row of layers, compiled when it is first run; needs a C++ compiler on a CPU."""

    name = "compiled"

    def __init__(self, layers: Sequence[Layer]) -> None:
        super().__init__(layers)
        self._run: Any = None

    @classmethod
    def fits(cls, layers: Sequence[Layer], bottoms: Sequence[Shape]) -> bool:
        """Any: `block_sites` looks at the types."""
        return True

    def forward(self, *bottoms: Tensor) -> Tensor | tuple[Tensor, ...]:
        if self._run is None:
            self._run = torch.compile(self._plain, dynamic=False)
        tops: Tensor | tuple[Tensor, ...] = self._run(*bottoms)
        return tops

    def _plain(self, *bottoms: Tensor) -> Tensor | tuple[Tensor, ...]:
        return in_turn(self.of, bottoms)

    def __getstate__(self) -> dict[str, Any]:
        """What is compiled stays with the process, and a copy compiles its own."""
        return {**self.__dict__, "_run": None}


def block_sites(compiled: Compiled) -> Iterator[Site]:
    """The longest rows of at least two layers that compute value by value."""
    goes_on = [*continued(compiled), False]
    start = 0
    while start < len(compiled.layers):
        row = [compiled.layers[start]]
        for index in count(start):
            if not (_is_by_value(row[-1]) and goes_on[index]):
                break
            row.append(compiled.layers[index + 1])
        row = row if _is_by_value(row[-1]) else row[:-1]
        if len(row) > 1:
            yield Site(tuple(row), tuple(compiled.shapes[name] for name in row[0].node.bottoms), (Block,))
        start += max(len(row), 1)


def _is_by_value(layer: BuiltLayer) -> bool:
    return layer.node.param.type in _BY_VALUE
