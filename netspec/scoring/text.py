"""The text of a net that is to be scored: what it says of its data, and its deploy view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from netspec.deploy import deploy_inputs, deploy_net, deploy_view, stored_data_layer
from netspec.graph import Graph, Node, build, joined_state
from netspec.layers.sources import SOURCE_TYPES
from netspec.schema.netspec_pb2 import TEST, LayerParameter, NetParameter, NetState
from netspec.spec import Document
from netspec.upgrade import net_document

_STORED = ".caffemodel"


@dataclass(frozen=True)
class ScoredText:
    """A net in a phase, as text or as a .caffemodel carries it. `data` is its data layer, if it has one; what a
    .caffemodel tells of it is how images were prepared, not where they lie now."""

    document: Document[NetParameter]
    state: NetState
    data: Node | None
    is_stored: bool = False

    def view(self, shapes: Mapping[str, Sequence[int]], blob: str = "") -> Document[NetParameter]:
        """The deploy view, with inputs of these shapes, and the auxiliary head of a `blob` too; SpecError,
        SnapshotError where there is none."""
        if self.is_stored:
            return deploy_net(self.document.path, shapes, blob)
        return deploy_view(self.document, self.state, shapes, blob)

    @property
    def data_layers(self) -> list[LayerParameter]:
        """The data layers of all phases, that of the phase first."""
        others = [layer for layer in self.document.message.layer if layer.type in SOURCE_TYPES]
        return [self.data.param, *others] if self.data else others

    def graph(self, node: Node) -> Graph:
        """One layer alone, in its place in the text."""
        return Graph(self.document, self.state, [node])


def scored_text(net: str | Path | Document[NetParameter], state: NetState | None) -> ScoredText:
    """The text of a net, in TEST where no state is given, or of the net in a .caffemodel; SpecError where several data
    layers feed its scores."""
    if isinstance(net, (str, Path)) and is_stored(net):
        stored, empty = stored_data_layer(net), Document(NetParameter(), "", str(net))
        state = state or NetState(phase=TEST)
        return ScoredText(empty, state, Node(stored, ()) if stored is not None else None, is_stored=True)
    document = net_document(net)
    state = state or joined_state(document, TEST)
    inputs = set(deploy_inputs(document, state))
    nodes = [node for node in build(document, state).nodes if node.param.type in SOURCE_TYPES]
    feeding = [node for node in nodes if inputs & set(node.tops)]
    if len(feeding) > 1:
        names = ", ".join(node.name for node in feeding)
        raise document.error(f"a net is scored over one data layer; this one has {len(feeding)}: {names}")
    return ScoredText(document, state, feeding[0] if feeding else None)


def is_stored(path: str | Path) -> bool:
    """Whether a file holds a net with its weights."""
    return Path(path).suffix == _STORED
