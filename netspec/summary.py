"""What a net costs before it runs: shapes, parameters, multiply-adds and memory. None of its memory is allocated."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import Message
from torch import nn

from netspec.blobs import remark_on_names
from netspec.columns import aligned
from netspec.compiler import Compiled, compile_graph, is_input, layer_error
from netspec.costs import BYTES, own_blobs
from netspec.errors import SpecError, nearest
from netspec.graph import Graph, Node, build, joined_state
from netspec.layers.base import Shape
from netspec.layers.recurrent import Recurrent
from netspec.layers.sources import SOURCE_TYPES, image_size
from netspec.schema.netspec_pb2 import LayerParameter, NetParameter
from netspec.spec import Document
from netspec.upgrade import net_document


@dataclass(frozen=True)
class Row:
    """One layer: the shapes of its tops, its learned parameters, the multiply-adds of a forward pass over a batch."""

    name: str
    type: str
    tops: list[Shape]
    parameters: int
    multiply_adds: int


@dataclass(frozen=True)
class Summary:
    """A net in one phase. `inputs` are the shapes of its inputs; `batch` are the axes of the first one that count its
    items: (N,), or timesteps and streams (T, N) where a layer is recurrent, and `item` is what one is called.
    `parameters` are what learns and `statistics` what layers gather, both with a shared blob counted once;
    `parameter_bytes` has both. `blob_bytes` is the memory of every blob of a batch, one that is changed in place once;
    `notes` say what was assumed."""

    title: str
    rows: list[Row]
    inputs: dict[str, Shape]
    batch: Shape
    item: str
    parameters: int
    statistics: int
    multiply_adds: int
    parameter_bytes: int
    blob_bytes: int
    notes: list[str]


def summarize(
    net: str | Path | NetParameter | Document[NetParameter],
    phase: str = "TEST",
    *,
    stages: Iterable[str] = (),
    level: int = 0,
    shapes: Mapping[str, Sequence[int]] | None = None,
    define: Mapping[str, str] | None = None,
    allow_python: bool = False,
) -> Summary:
    """The costs of a net in one phase; the arguments are those of `Net`.

    Where the data of a data layer is not there, the shapes of its tops come from its text. SpecError where the text is
    wrong or does not say them, or where `shapes` names what is no input; DataError where data is there, but wrong.
    """
    document = net_document(net, define)
    graph = build(document, joined_state(document, phase, level, stages))
    given = {name: tuple(shape) for name, shape in (shapes or {}).items()}
    _check_given(graph, given)
    known, notes = _known_shapes(graph, given)
    compiled = compile_graph(graph, known, allow_python=allow_python)
    notes += filter(None, [remark_on_names(compiled)])
    rows = list(_rows(compiled))
    batch, item = _batch(compiled)
    blobs = [blob for _, blob in own_blobs(compiled)]
    parameters = sum(blob.numel() for blob in blobs if isinstance(blob, nn.Parameter))
    statistics = sum(blob.numel() for blob in blobs) - parameters
    return Summary(
        title=f"{graph.name or 'net'}, phase {phase}",
        rows=rows,
        inputs={name: compiled.shapes[name] for name in compiled.inputs},
        batch=batch,
        item=item,
        parameters=parameters,
        statistics=statistics,
        multiply_adds=sum(row.multiply_adds for row in rows),
        parameter_bytes=(parameters + statistics) * BYTES,
        blob_bytes=sum(math.prod(shape) for shape in compiled.shapes.values()) * BYTES,
        notes=notes,
    )


def _rows(compiled: Compiled) -> Iterator[Row]:
    modules = {layer.node.where: layer.module for layer in compiled.layers}
    for node in compiled.graph.nodes:
        tops = [compiled.shapes[name] for name in node.tops]
        parameters = multiply_adds = 0
        if (module := modules.get(node.where)) is not None:
            parameters = sum(blob.numel() for blob in module.parameters())
            multiply_adds = module.multiply_adds([compiled.shapes[name] for name in node.bottoms], tops)
        yield Row(node.name, node.param.type, tops, parameters, multiply_adds)


def _batch(compiled: Compiled) -> tuple[Shape, str]:
    """How many items a pass takes, and what one is: of the first recurrent layer's blobs two axes count them."""
    recurrent = (layer.node.bottoms[0] for layer in compiled.layers if isinstance(layer.module, Recurrent))
    if (sequence := next(recurrent, None)) is not None:
        return compiled.shapes[sequence][:2], "a timestep of a stream"
    first = next((compiled.shapes[name] for name in compiled.inputs if compiled.shapes[name]), (1,))
    return first[:1], "an image" if len(first) == 4 else "an item"


# --- shapes of the inputs ---------------------------------------------------------------------------------------------


_OWN_SHAPES = ("HDF5Data", "DummyData")
"""Data layers whose tops have any shapes; those of the others are images, and one label an image."""


def _check_given(graph: Graph, given: Mapping[str, Shape]) -> None:
    inputs = [top for node in graph.nodes if is_input(node) for top in node.tops]
    for name, shape in given.items():
        if name not in inputs:
            reason = f'"{name}" is no input of this net (it has {", ".join(inputs) or "none"})'
            raise SpecError(reason, "--shape", f"{name}={','.join(map(str, shape))}", hint=nearest(name, inputs))


def _known_shapes(graph: Graph, given: Mapping[str, Shape]) -> tuple[dict[str, Shape], list[str]]:
    """The shapes given, and those of data layers that cannot be opened; with a note on each of these."""
    known, notes = dict(given), []
    for node in graph.nodes:
        if node.param.type not in SOURCE_TYPES or set(node.tops) <= set(given):
            continue
        images = node.tops[0]
        missing = next((name for name in _files(node.param) if not graph.document.find(name).exists()), None)
        if node.param.type in _OWN_SHAPES:
            if missing is not None:
                raise _shapes_wanted(graph, node, missing, given)
        elif images in given:
            known.update(_with_labels(node, given[images], given))
        elif missing is not None:
            known.update(_with_labels(node, _text_shape(graph, node, missing), given))
            shapes = ", ".join(f"{top} {_text(known[top])}" for top in node.tops)
            notes.append(f'{node.name}: "{missing}" is not there; assumed from the text: {shapes}')
    return known, notes


def _shapes_wanted(graph: Graph, node: Node, missing: str, given: Mapping[str, Shape]) -> SpecError:
    """What to say where a file is not there that alone has the shapes of a layer's tops."""
    error = layer_error(graph, node, f'"{missing}" is not there: give the shapes of its tops')
    error.hint = " ".join(f"--shape {top}=N,..." for top in node.tops if top not in given)
    return error


def _with_labels(node: Node, images: Shape, given: Mapping[str, Shape]) -> dict[str, Shape]:
    """The shapes of a data layer's tops: its images' and its labels'."""
    return {node.tops[0]: images} | {top: given.get(top, images[:1]) for top in node.tops[1:]}


def _parts(param: LayerParameter) -> list[Message]:
    """The messages inside a layer's message."""
    return [part for _, part in param.ListFields() if isinstance(part, Message)]


def _files(param: LayerParameter) -> list[str]:
    """The files that a data layer names, its source first."""
    found = [getattr(part, name, "") for name in ("source", "mean_file") for part in _parts(param)]
    return [name for name in found if name]


def _text_shape(graph: Graph, node: Node, missing: str) -> Shape:
    """The shape of a data layer's images, from its text alone."""
    transform = node.param.transform_param
    batch = next((part.batch_size for part in _parts(node.param) if hasattr(part, "batch_size")), 0)
    height, width = image_size(node.param)
    if not batch or not height:
        field = "crop_size" if batch else "batch_size"
        reason = f'"{missing}" is not there and the text gives no {field}: give the shape of "{node.tops[0]}"'
        raise layer_error(graph, node, f"{reason} (--shape {node.tops[0]}=N,C,H,W)")
    # A single mean_value stands for any number of channels.
    grey = transform.force_gray or not node.param.image_data_param.is_color
    channels = len(transform.mean_value) if len(transform.mean_value) > 1 else 1 if grey else 3
    return (batch, channels, height, width)


# --- as text ----------------------------------------------------------------------------------------------------------


def table(summary: Summary) -> str:
    """A summary as lines of text: one a layer, then the totals."""
    cells = [("layer", "type", "tops", "parameters", "multiply-adds")]
    for row in summary.rows:
        counts = [f"{count:,}" if count else "" for count in (row.parameters, row.multiply_adds)]
        cells.append((row.name, row.type, ", ".join(map(_text, row.tops)), counts[0], counts[1]))
    return "\n".join([summary.title, *summary.notes, "", *aligned(cells, right=(3, 4)), "", *_totals(summary)])


def _totals(summary: Summary) -> list[str]:
    one = summary.multiply_adds / max(math.prod(summary.batch), 1)
    batch = f"a batch of {_text(summary.batch)}{' (timesteps x streams)' if len(summary.batch) > 1 else ''}"
    statistics = f" and {summary.statistics:,} statistics" if summary.statistics else ""
    return [
        f"parameters     {summary.parameters:,}{statistics} ({_binary(summary.parameter_bytes)})",
        f"multiply-adds  {_decimal(summary.multiply_adds)} for {batch}, {_decimal(one)} {summary.item}",
        f"blobs          {_binary(summary.blob_bytes)} for a batch",
    ]


def _text(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _decimal(number: float) -> str:
    """1234567 -> 1.23 M."""
    return _scaled(number, 1000, ("", "k", "M", "G", "T", "P"))


def _binary(count: float) -> str:
    """83950000 -> 80.1 MiB."""
    return _scaled(count, 1024, ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB"))


def _scaled(number: float, base: int, units: Sequence[str]) -> str:
    power = 0
    while number >= base and power + 1 < len(units):
        number /= base
        power += 1
    digits = ".3g" if number < 999.5 else ".0f"
    return f"{number:{digits}} {units[power]}".rstrip()
