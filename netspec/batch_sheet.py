"""What a net is fed with, drawn: batches of its data layers as a sheet of images with their labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from netspec.compiler import compile_graph
from netspec.data.captions import caption, class_names
from netspec.data.sheet import Section, draw_sheet
from netspec.data.undo import pixels_of
from netspec.errors import DataError, NetspecError
from netspec.graph import PHASES, Graph, Node, build, joined_state, net_state
from netspec.layers.sources import SOURCE_TYPES, Source, SourceContext
from netspec.overrides import Overrides
from netspec.schema.netspec_pb2 import TEST, NetParameter, NetState, Phase
from netspec.solver.nets import test_texts, train_text
from netspec.spec import Document
from netspec.upgrade import is_solver, net_document, solver_document

Values = NDArray[np.float32]
Tops = Sequence[Values]


def draw_batches(
    path: Path,
    out: Path,
    phases: Sequence[str] = ("TRAIN", "TEST"),
    count: int = 32,
    stages: Sequence[str] = (),
    level: int = 0,
    define: Mapping[str, str] | None = None,
) -> str:
    """Draw the first `count` images of every data layer of a net, or of a solver's train net and first test net, into
    a PNG, and return its sections' titles. Only the data layers are built. Where one phase of several cannot be, its
    reason follows the titles. `stages` and `level` join those that the text gives. Raises SpecError, DataError."""
    sections: list[Section] = []
    refused: dict[str, NetspecError] = {}
    for phase in phases:
        try:
            document, state, seed = _text(path, PHASES[phase], stages, level, define)
            sections += _sections(document, state, seed, phase, count)
        except NetspecError as error:
            refused[phase] = error
    if refused and not sections:
        raise next(iter(refused.values()))
    if not sections:
        raise DataError(f"{path}: no data layer gives images in phase {' or '.join(phases)}")
    draw_sheet(sections, out)
    reasons = (f"{phase} cannot be built: {reason}" for phase, reason in refused.items())
    return "\n".join([*(section.title for section in sections), *reasons])


def _text(
    path: Path, phase: Phase, stages: Sequence[str], level: int, define: Mapping[str, str] | None
) -> tuple[Document[NetParameter], NetState, int]:
    """The text of a phase's net, its state, and the seed of its data."""
    if not is_solver(path):
        document = net_document(path, define)
        return document, joined_state(document, phase, level, stages), 0
    solver = solver_document(path)
    arguments = solver, solver.message, Overrides([], define)
    document, state = next(test_texts(*arguments)) if phase == TEST else train_text(*arguments)
    state.MergeFrom(net_state(phase, level or state.level, stages))
    return document, state, max(0, solver.message.random_seed)


def _sections(
    document: Document[NetParameter], state: NetState, seed: int, phase: str, count: int
) -> Iterator[Section]:
    graph = build(document, state)
    inputs = [node for node in graph.nodes if node.param.type in SOURCE_TYPES and node.param.type != "MemoryData"]
    sources = compile_graph(Graph(document, state, inputs), {}, SourceContext(state.phase, seed)).sources
    try:
        for node, source in sources:
            tops = _first(source, count)
            labels = next((top for top in tops if top.ndim < 3), None)
            for name, top in zip(node.tops, tops, strict=True):
                if top.ndim == 4:
                    yield _section(document, node, f'{phase}: "{name}"', top, labels)
    finally:
        for _, source in sources:
            source.close()


def _first(source: Source, count: int) -> list[Values]:
    """The first rows of each top, from as many batches as it takes."""
    size = next(iter(source.shapes[0]), 1)
    batches = [source.next() for _ in range(-(-count // size))]
    return [torch.cat(tops).numpy()[:count] for tops in zip(*batches, strict=True)]


def _section(
    document: Document[NetParameter], node: Node, title: str, images: Values, labels: Values | None
) -> Section:
    pixels, how = pixels_of(images, node.param, document.find)
    captions = [""] * len(images)
    if labels is not None:
        names = class_names(node.param, document.find)
        shares = labels.ndim == 2 and labels.shape[1] == node.param.transform_param.classes
        captions = [caption(label, names, shares) for label in labels]
    size = "x".join(map(str, images.shape[1:]))
    values = f"{images.min():.4g} to {images.max():.4g}, mean {images.mean():.4g}, deviation {images.std():.4g}"
    title += f' of layer "{node.name}" ({node.param.type}), {size}. Values {values}. Shown: {how}.'
    return Section(title, pixels, captions)
