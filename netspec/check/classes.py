"""Whether the folders of classes that nets would read number their classes alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from netspec.check.build import Built
from netspec.data.class_folder import class_names
from netspec.errors import DataError, SpecError
from netspec.graph import Graph, Node
from netspec.solver.classes import Labelled, other_number


def other_classes(built: Sequence[Built]) -> Iterator[SpecError]:
    """What a run would say of a test net whose folders number a class otherwise than those of the train net, at the
    field that names them."""
    train = [labelled for net in built if net.state.phase == "TRAIN" for _, _, labelled in _folders(net)]
    for net in built:
        for graph, node, labelled in _folders(net) if net.state.phase == "TEST" else ():
            if problem := other_number(train, labelled):
                yield graph.document.error(problem, *node.where, "image_data_param", 0, "source", 0)


def _folders(net: Built) -> Iterator[tuple[Graph, Node, Labelled]]:
    """The layers of a net that would read labels from folders of classes."""
    graph = net.compiled.graph if net.compiled else None
    for node in graph.nodes if graph else ():
        if graph is None or node.param.type != "ImageData" or len(node.tops) < 2:
            continue
        path = graph.document.find(node.param.image_data_param.source)
        try:
            classes = class_names(path) if path.is_dir() else ()
        except DataError:  # it is what a run would say
            continue
        if classes:
            yield graph, node, Labelled(node.tops[1], path, classes)
