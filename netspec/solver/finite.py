"""Finds out where numbers stopped being finite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor

from netspec.blobs import Param
from netspec.graph import Node
from netspec.layers import Layer
from netspec.net import Net


@torch.no_grad()
def first_not_finite(net: Net, batches: int) -> str:
    """The first layer with a NaN or an infinity in a pass over each of the next batches, in words; nothing where all
    are finite. The data layers' tops count as they are read."""
    makers = {top: node.name for node in net.graph.nodes if node.name not in net.layers for top in node.tops}
    found: list[str] = []
    with ExitStack() as hooks:
        for node in net.graph.nodes:
            if node.name in net.layers:
                look = _Look(node, net.layers[node.name], makers, found)
                hooks.callback(look.layer.register_forward_pre_hook(look.before).remove)
                hooks.callback(look.layer.register_forward_hook(look.after).remove)
        for _ in range(batches):
            if not found:
                net()
    return found[0] if found else ""


def not_finite_blob(params: Sequence[Param], history: Sequence[Tensor]) -> str:
    """The layer that has a NaN or an infinity in its blobs or in their history, in words; nothing where none has."""
    for kind, blobs in (("blobs", [param.tensor for param in params]), ("history", history)):
        for index, blob in enumerate(blobs):
            if _is_wrong(blob):
                return f'the {kind} of layer "{params[index % len(params)].layer}"'
    return ""


class _Look:
    """Looks at what one layer reads, holds and makes, in two hooks: an in-place layer overwrites what it reads.
    `makers` has the data layers by top; other bottoms have been looked at as tops."""

    def __init__(self, node: Node, layer: Layer, makers: dict[str, str], found: list[str]) -> None:
        self._node, self.layer, self._makers, self._found = node, layer, makers, found

    def before(self, layer: object, bottoms: tuple[Any, ...]) -> None:
        read = zip(self._node.bottoms, bottoms, strict=False)
        self._note((f'top "{name}" of layer "{self._makers[name]}"', x) for name, x in read if name in self._makers)
        self._note((f'blob {index} of layer "{self._node.name}"', x) for index, x in enumerate(self.layer.blobs()))

    def after(self, layer: object, bottoms: object, result: Any) -> None:
        tops = result if isinstance(result, tuple) else (result,)
        made = zip(self._node.tops, tops, strict=False)
        self._note((f'top "{name}" of layer "{self._node.name}"', x) for name, x in made)

    def _note(self, places: Iterator[tuple[str, Any]]) -> None:
        if not self._found:
            self._found.extend(place for place, blob in places if _is_wrong(blob))


def _is_wrong(blob: Any) -> bool:
    return isinstance(blob, Tensor) and blob.is_floating_point() and not bool(torch.isfinite(blob).all())
