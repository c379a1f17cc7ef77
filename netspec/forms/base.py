"""Forms: other ways to compute what one layer, or several in a row, compute, some of them faster in some shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from netspec.compiler import BuiltLayer, Compiled
from netspec.layers.base import Layer, Shape

PLAIN = "plain"
"""The name of the layers as they are."""


class Form(nn.Module):
    """Computes what some layers compute in a row: the same tops of the same bottoms within rounding, gradients and
    states included.

    It is made of the layers themselves, whose blobs and settings it reads in forward, so that whoever loads or moves
    them need not know of it; it has none of its own. Training or testing is that of its first layer.
    """

    name: ClassVar[str]

    def __init__(self, layers: Sequence[Layer]) -> None:
        super().__init__()
        self.of = tuple(layers)  # not registered: the net has them already
        self.takes_16_bits = all(layer.takes_16_bits for layer in layers)

    @classmethod
    def fits(cls, layers: Sequence[Layer], bottoms: Sequence[Shape]) -> bool:
        """Whether this form can compute these layers of the types that it is registered for, on bottoms of these
        shapes."""
        raise NotImplementedError

    def forward(self, *bottoms: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The tops of the last layer."""
        raise NotImplementedError


def in_turn(layers: Sequence[Layer], bottoms: tuple[Tensor, ...]) -> Tensor | tuple[Tensor, ...]:
    """What layers in a row make, computed as they are; those that do not take 16 bits get float32."""
    for layer in layers:
        tops = layer(*(bottoms if layer.takes_16_bits else map(_in_32_bits, bottoms)))
        bottoms = (tops,) if isinstance(tops, Tensor) else tops
    return bottoms[0] if len(bottoms) == 1 else bottoms


def _in_32_bits(x: Tensor) -> Tensor:
    return x.float() if x.dtype.itemsize < 4 else x  # float64 stays


FORMS: dict[tuple[str, ...], list[type[Form]]] = {}
"""The forms for layers of some types in a row."""


def form(*types: str) -> Callable[[type[Form]], type[Form]]:
    """Register a form for layers of these types, each the only reader of the one before it."""

    def register(cls: type[Form]) -> type[Form]:
        FORMS.setdefault(types, []).append(cls)
        return cls

    return register


@dataclass(frozen=True)
class Site:
    """Layers in a row that some forms can compute; `bottoms` are the shapes of what the first one reads."""

    layers: tuple[BuiltLayer, ...]
    bottoms: tuple[Shape, ...]
    forms: tuple[type[Form], ...]

    @property
    def key(self) -> str:
        """What names the site in its net."""
        return "+".join(layer.key for layer in self.layers)

    @property
    def hidden(self) -> set[str]:
        """The blobs between its layers, which a form does not make."""
        last = self.layers[-1].node.tops
        return {top for layer in self.layers[:-1] for top in layer.node.tops} - set(last)

    @property
    def is_hooked(self) -> bool:
        """Whether somebody watches one of its layers, as a form does not call them."""
        modules = (layer.module for layer in self.layers)
        return any(module._forward_hooks or module._forward_pre_hooks for module in modules)

    def made(self, name: str) -> nn.Module | None:
        """The form of that name; None for the layers as they are, or where there is none."""
        for kind in self.forms:
            if kind.name == name:
                return kind([layer.module for layer in self.layers])
        return None


def sites(compiled: Compiled) -> list[Site]:
    """All places of a net where a form fits, long rows before the short ones that they contain."""
    longest = max(map(len, FORMS), default=0)
    found = []
    for start in range(len(compiled.layers)):
        row = list(_row(compiled, start, longest))
        for length in range(len(row), 0, -1):
            layers = row[:length]
            bottoms = tuple(compiled.shapes[name] for name in layers[0].node.bottoms)
            modules = [layer.module for layer in layers]
            kinds = FORMS.get(tuple(layer.node.param.type for layer in layers), [])
            if fitting := tuple(kind for kind in kinds if kind.fits(modules, bottoms)):
                found.append(Site(tuple(layers), bottoms, fitting))
    return found


def _row(compiled: Compiled, start: int, longest: int) -> Iterator[BuiltLayer]:
    """Layers from one on, each of which alone reads what the one before it made."""
    layers = compiled.layers
    yield layers[start]
    for index in range(start, min(start + longest, len(layers)) - 1):
        if not follows(compiled, index):
            return
        yield layers[index + 1]


def follows(compiled: Compiled, index: int) -> bool:
    """Whether the layer after that of an index alone reads its only top, which is nothing that the net puts out."""
    layer, following = compiled.layers[index : index + 2]
    tops = layer.node.tops
    if len(tops) != 1 or following.node.bottoms != tops or tops[0] in compiled.loss_weights:
        return False
    is_read = following.node.tops != tops and _is_read_later(compiled, index + 2, tops[0])
    return not is_read and not following.node.param.propagate_down


def _is_read_later(compiled: Compiled, start: int, blob: str) -> bool:
    """Whether a layer from `start` on, or the caller, reads a blob, as it is before another layer writes its name."""
    for layer in compiled.layers[start:]:
        if blob in layer.node.bottoms:
            return True
        if blob in layer.node.tops:
            return False
    return blob in compiled.graph.outputs
