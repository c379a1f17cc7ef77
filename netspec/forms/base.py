"""Forms: other ways to compute what one layer, or several in a row, compute, some of them faster in some shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from netspec.compiler import BuiltLayer
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

    reads_rounded = True
    """Whether in 16 bits its layers' weights may be rounded before it reads them."""

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
        bottoms = tops_of(layer, bottoms)
    return bottoms[0] if len(bottoms) == 1 else bottoms


def tops_of(layer: Layer, bottoms: Iterable[Tensor]) -> tuple[Tensor, ...]:
    """The tops of one layer, computed as it is, of float32 bottoms where it does not take 16 bits."""
    tops = layer(*(bottoms if layer.takes_16_bits else map(_in_32_bits, bottoms)))
    return (tops,) if isinstance(tops, Tensor) else tops


def _in_32_bits(x: Tensor) -> Tensor:
    return x.float() if x.dtype.itemsize < 4 else x  # float64 stays


FORMS: dict[tuple[str, ...], list[type[Form]]] = {}
"""The forms for layers of some types in a row."""

JOINING_FORMS: dict[tuple[str, str], list[type[Form]]] = {}
"""The forms for branches that end in layers of the first type, and the layer of the second type that joins them."""


def form(*types: str) -> Callable[[type[Form]], type[Form]]:
    """Register a form for layers of these types, each the only reader of the one before it."""
    return _registering(FORMS.setdefault(types, []))


def joining_form(branch: str, join: str) -> Callable[[type[Form]], type[Form]]:
    """Register a form for a layer of the type `join` that alone reads what several layers of the type `branch` make.
    It gets these in the order of its bottoms, and then the join; its bottoms are those of the branches."""
    return _registering(JOINING_FORMS.setdefault((branch, join), []))


def _registering(forms: list[type[Form]]) -> Callable[[type[Form]], type[Form]]:
    def register(cls: type[Form]) -> type[Form]:
        forms.append(cls)
        return cls

    return register


@dataclass(frozen=True)
class Site:
    """Layers that some forms can compute, in a row or as branches and what joins them, in the order in which they
    compute; `bottoms` are the shapes of what they read from elsewhere."""

    layers: tuple[BuiltLayer, ...]
    bottoms: tuple[Shape, ...]
    forms: tuple[type[Form], ...]

    @property
    def key(self) -> str:
        """What names the site in its net."""
        return "+".join(layer.key for layer in self.layers)

    @property
    def keys(self) -> set[str]:
        """The keys of its layers."""
        return {layer.key for layer in self.layers}

    @property
    def reads(self) -> list[tuple[BuiltLayer, int]]:
        """What is read from elsewhere, each as a layer and the place among its bottoms."""
        found, made = [], set[str]()
        for layer in self.layers:
            found += [(layer, place) for place, name in enumerate(layer.node.bottoms) if name not in made]
            made |= set(layer.node.tops)
        return found

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

    def plain(self, modules: Sequence[Layer], bottoms: Iterable[Tensor]) -> tuple[Tensor, ...]:
        """The tops of the last layer, each layer computed as it is by the one of `modules` in its place."""
        names = [layer.node.bottoms[place] for layer, place in self.reads]
        blobs = dict(zip(names, bottoms, strict=True))
        tops: tuple[Tensor, ...] = ()
        for layer, module in zip(self.layers, modules, strict=True):
            tops = tops_of(module, [blobs[name] for name in layer.node.bottoms])
            blobs.update(zip(layer.node.tops, tops, strict=True))
        return tops
