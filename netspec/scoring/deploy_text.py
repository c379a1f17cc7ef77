"""The deploy view of a net as a text for others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from google.protobuf import text_format

from netspec.compiler import compile_graph
from netspec.errors import NetspecError
from netspec.layers.base import Shape
from netspec.layers.sources import SourceContext
from netspec.schema.netspec_pb2 import TEST, NetParameter, NetState
from netspec.scoring.text import ScoredText, scored_text
from netspec.spec import Document, to_text


def deploy_text(
    net: str | Path | Document[NetParameter], state: NetState | None, shapes: Mapping[str, Sequence[int]]
) -> str:
    """The text of a net's deploy view. The shape of an input is that of `shapes`, else one image of the net's data,
    else what the text or the weights of a .caffemodel tell. A comment says how the images were prepared. SpecError,
    SnapshotError."""
    text = scored_text(net, state)
    view = text.view(_own_shapes(text, shapes) | dict(shapes)).message
    comment = f"# The deploy view of {text.document.path}.\n"
    if text.data:
        transform = text_format.MessageToString(text.data.param.transform_param, as_one_line=True)
        comment += f'# Layer "{text.data.name}" prepared the images: transform_param {{ {transform} }}\n'
    return comment + to_text(view)


def _own_shapes(text: ScoredText, given: Mapping[str, Sequence[int]]) -> dict[str, Shape]:
    """The tops of the net's data layer, with batch 1, where it can be opened."""
    if text.data is None or text.is_stored or set(text.data.tops) <= set(given):
        return {}
    with suppress(NetspecError):  # the data need not be there: the text may tell as much
        source = compile_graph(text.graph(text.data), {}, SourceContext(TEST)).sources[0][1]
        source.close()
        return {top: (1, *shape[1:]) for top, shape in zip(text.data.tops, source.shapes, strict=True)}
    return {}
