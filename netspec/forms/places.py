"""Where a net has layers that forms can compute."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from netspec.compiler import BuiltLayer, Compiled
from netspec.forms.base import FORMS, JOINING_FORMS, Form, Site


def sites(compiled: Compiled) -> list[Site]:
    """All places of a net where a form fits: rows, the long ones before the short ones that they contain, then
    branches with what joins them."""
    return [*_rows(compiled), *_joins(compiled)]


def continued(compiled: Compiled) -> list[bool]:
    """Of each layer but the last whether the next one alone reads its only top, which is nothing that the net puts
    out."""
    layers = compiled.layers
    return [
        reader is following and following.node.bottoms == layer.node.tops and not following.node.param.propagate_down
        for layer, following, reader in zip(layers, layers[1:], _only_readers(compiled), strict=False)
    ]


def _rows(compiled: Compiled) -> Iterator[Site]:
    longest = max(map(len, FORMS), default=0)
    goes_on = [*continued(compiled), False]
    for start in range(len(compiled.layers)):
        row = list(_row(compiled, goes_on, start, longest))
        for length in range(len(row), 0, -1):
            types = tuple(layer.node.param.type for layer in row[:length])
            yield from _site(compiled, row[:length], FORMS.get(types, []))


def _row(compiled: Compiled, goes_on: Sequence[bool], start: int, longest: int) -> Iterator[BuiltLayer]:
    """Layers from one on, each of which alone reads what the one before it made."""
    for index in range(start, start + longest):
        yield compiled.layers[index]
        if not goes_on[index]:
            return


def _joins(compiled: Compiled) -> Iterator[Site]:
    readers = _only_readers(compiled)
    makers: dict[str, int] = {}
    for index, join in enumerate(compiled.layers):
        branches = [makers[name] for name in join.node.bottoms if name in makers]
        kinds = {compiled.layers[branch].node.param.type for branch in branches}
        if 1 < len(branches) == len(join.node.bottoms) and len(kinds) == 1:
            layers = [*(compiled.layers[branch] for branch in branches), join]
            forms = JOINING_FORMS.get((kinds.pop(), join.node.param.type), [])
            is_alone = all(readers[branch] is join for branch in branches)
            if is_alone and not any(layer.node.param.propagate_down for layer in layers):
                yield from _site(compiled, layers, forms)
        makers.update(dict.fromkeys(join.node.tops, index))


def _site(compiled: Compiled, layers: Sequence[BuiltLayer], forms: Sequence[type[Form]]) -> Iterator[Site]:
    """A site of layers, with those of the forms that fit there; none where none does."""
    if not forms:
        return
    site = Site(tuple(layers), (), ())
    bottoms = tuple(compiled.shapes[layer.node.bottoms[place]] for layer, place in site.reads)
    modules = [layer.module for layer in layers]
    if fitting := tuple(kind for kind in forms if kind.fits(modules, bottoms)):
        yield replace(site, bottoms=bottoms, forms=fitting)


def _only_readers(compiled: Compiled) -> list[BuiltLayer | None]:
    """Of each layer the only one that reads its only top; None where there are others, or the net puts the top out or
    counts it toward the loss."""
    readers: list[list[BuiltLayer | None]] = [[] for _ in compiled.layers]  # None is the caller
    makers: dict[str, int] = {}
    for index, layer in enumerate(compiled.layers):
        for name in layer.node.bottoms:
            if name in makers:
                readers[makers[name]].append(layer)
        makers.update(dict.fromkeys(layer.node.tops, index))
    for name in (*compiled.graph.outputs, *compiled.loss_weights):
        if name in makers:
            readers[makers[name]].append(None)
    alone = [len(layer.node.tops) == 1 == len(found) for layer, found in zip(compiled.layers, readers, strict=True)]
    return [found[0] if is_alone else None for found, is_alone in zip(readers, alone, strict=True)]
