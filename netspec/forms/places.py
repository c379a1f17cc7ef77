"""Where a net has layers that forms can compute."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from netspec.compiler import BuiltLayer, Compiled
from netspec.forms.base import FORMS, JOINING_FORMS, Form, Site


def sites(compiled: Compiled) -> list[Site]:
    """All places of a net where a form fits: rows, the long ones before the short ones that they contain, then
    branches with what joins them."""
    return [*_rows(compiled), *_joins(compiled)]


def follows(compiled: Compiled, index: int) -> bool:
    """Whether the layer after that of an index alone reads its only top, which is nothing that the net puts out."""
    layer, following = compiled.layers[index : index + 2]
    is_row = following.node.bottoms == layer.node.tops and not following.node.param.propagate_down
    return is_row and _reader(compiled, index) is following


def _rows(compiled: Compiled) -> Iterator[Site]:
    longest = max(map(len, FORMS), default=0)
    for start in range(len(compiled.layers)):
        row = list(_row(compiled, start, longest))
        for length in range(len(row), 0, -1):
            types = tuple(layer.node.param.type for layer in row[:length])
            yield from _site(compiled, row[:length], FORMS.get(types, []))


def _row(compiled: Compiled, start: int, longest: int) -> Iterator[BuiltLayer]:
    """Layers from one on, each of which alone reads what the one before it made."""
    layers = compiled.layers
    yield layers[start]
    for index in range(start, min(start + longest, len(layers)) - 1):
        if not follows(compiled, index):
            return
        yield layers[index + 1]


def _joins(compiled: Compiled) -> Iterator[Site]:
    makers: dict[str, int] = {}
    for index, join in enumerate(compiled.layers):
        branches = [makers[name] for name in join.node.bottoms if name in makers]
        kinds = {compiled.layers[branch].node.param.type for branch in branches}
        if 1 < len(branches) == len(join.node.bottoms) and len(kinds) == 1:
            layers = [*(compiled.layers[branch] for branch in branches), join]
            forms = JOINING_FORMS.get((kinds.pop(), join.node.param.type), [])
            is_alone = all(_reader(compiled, branch) is join for branch in branches)
            if is_alone and not any(layer.node.param.propagate_down for layer in layers):
                yield from _site(compiled, layers, forms)
        makers.update(dict.fromkeys(join.node.tops, index))


def _site(compiled: Compiled, layers: Sequence[BuiltLayer], forms: Sequence[type[Form]]) -> Iterator[Site]:
    """A site of layers, with those of the forms that fit there; none where none does."""
    site = Site(tuple(layers), (), ())
    bottoms = tuple(compiled.shapes[layer.node.bottoms[place]] for layer, place in site.reads)
    modules = [layer.module for layer in layers]
    if fitting := tuple(kind for kind in forms if kind.fits(modules, bottoms)):
        yield Site(tuple(layers), bottoms, fitting)


def _reader(compiled: Compiled, index: int) -> BuiltLayer | None:
    """The only layer that reads the only top of that at an index; None where there are others, or the net puts the top
    out or counts it toward the loss."""
    tops = compiled.layers[index].node.tops
    if len(tops) != 1 or tops[0] in compiled.loss_weights:
        return None
    readers = list(_readers(compiled, index + 1, tops[0]))
    return readers[0] if len(readers) == 1 else None


def _readers(compiled: Compiled, start: int, blob: str) -> Iterator[BuiltLayer | None]:
    """The layers from `start` on that read a blob before another is made under its name, once for each bottom, and
    None for the caller."""
    for layer in compiled.layers[start:]:
        yield from [layer] * layer.node.bottoms.count(blob)
        if blob in layer.node.tops:
            return
    if blob in compiled.graph.outputs:
        yield None
