"""The net that a .caffemodel carries: its layers' messages, with the shapes of their blobs but not the numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from netspec.errors import SnapshotError
from netspec.files import read_whole
from netspec.schema.netspec_pb2 import BlobProto, BlobShape, LayerParameter, NetParameter, V1LayerParameter
from netspec.schema.weights_pb2 import WeightsBlob, WeightsFile, WeightsLayer, WeightsV1Layer
from netspec.weights.caffemodel import check_texts, stored_shape

M = TypeVar("M", LayerParameter, V1LayerParameter)

_FORK_PARAMS = {
    "BN": "bn_param",
    "Interp": "interp_param",
    "Normalize": "norm_param",
    "Permute": "permute_param",
    "ROIPooling": "roi_pooling_param",
    "ShuffleChannel": "shuffle_channel_param",
    "Upsample": "upsample_param",
}
"""Layer types of forks with the one message that each of them reads."""

_FIRST_PARAM, _FIRST_OF_OURS = 100, 10000
"""Numbers of fields in a layer: what a layer type reads begins at the first, what only netspec knows at the second."""

_BYTES = 2
"""The wire type of messages and texts."""


@dataclass(frozen=True)
class Definition:
    """A net as its weights file tells it; `unread` has, by layer name, what of a layer only its fork can read."""

    net: NetParameter
    unread: dict[str, str] = field(default_factory=dict)


def read_definition(path: Path) -> Definition:
    """The net in a .caffemodel of any age; SnapshotError where the file is damaged or none."""
    try:
        file = WeightsFile.FromString(read_whole(path))
        layers = [WeightsLayer.FromString(raw) for raw in file.layer]
        older_layers = [WeightsV1Layer.FromString(raw) for raw in file.layers]
        file.ClearField("layer")
        file.ClearField("layers")
        definition = Definition(NetParameter.FromString(file.SerializeToString()))
        for layer in layers:
            check_texts(layer.name, layer.type, *layer.bottom, *layer.top)
            _add_layer(definition, layer)
        for older in older_layers:
            check_texts(older.name, older.layer.name, older.layer.type, *older.bottom, *older.top)
            _add_older_layer(definition, older)
    except (DecodeError, ValueError):
        raise SnapshotError(f"{path}: this is no caffemodel, or it is damaged") from None
    return definition


def _add_layer(definition: Definition, stored: WeightsLayer) -> None:
    blobs = [_without_values(blob) for blob in stored.blobs]
    stored.ClearField("blobs")
    layer, unread = _whole(stored, LayerParameter)
    if stored.type in _FORK_PARAMS and not layer.HasField(_FORK_PARAMS[stored.type]):
        unread = _take_fork_param(layer, stored)
    if unread:
        definition.unread[stored.name] = unread
    layer.blobs.extend(blobs)
    definition.net.layer.append(layer)


def _add_older_layer(definition: Definition, stored: WeightsV1Layer) -> None:
    oldest = stored.HasField("layer")
    blobs = [_without_values(blob) for blob in (stored.layer.blobs if oldest else stored.blobs)]
    stored.ClearField("blobs")
    if oldest:
        stored.layer.ClearField("blobs")
    layer, unread = _whole(stored, V1LayerParameter)
    if not oldest and stored.type not in V1LayerParameter.LayerType.values():
        unread = f"its type {stored.type}"
    if unread:
        definition.unread[stored.layer.name if oldest else stored.name] = unread
    (layer.layer if oldest else layer).blobs.extend(blobs)
    definition.net.layers.append(layer)


def _without_values(blob: bytes) -> BlobProto:
    return BlobProto(shape=BlobShape(dim=stored_shape(WeightsBlob.FromString(blob)) or ()))


def _whole(stored: Message, kind: type[M]) -> tuple[M, str]:
    """A layer in the whole schema, and the fields of it that mean something else in the fork that wrote them."""
    try:
        return kind.FromString(stored.SerializeToString()), ""
    except DecodeError:
        pass
    bare = type(stored)()
    bare.CopyFrom(stored)
    bare.DiscardUnknownFields()
    layer = kind.FromString(bare.SerializeToString())
    unread = []
    for number, content in _messages(stored):
        known = kind.DESCRIPTOR.fields_by_number.get(number)
        if known is None or known.message_type is None:
            continue
        held = getattr(layer, known.name)
        try:
            (held.add() if hasattr(held, "add") else held).MergeFromString(content)
        except DecodeError:
            layer.ClearField(known.name)
            unread.append(known.name)
    return layer, f"its {', '.join(unread)}" if unread else ""


def _messages(stored: Message) -> Iterator[tuple[int, bytes]]:
    """Number and content of what may be messages among the fields that the small messages do not know."""
    unknown = UnknownFieldSet(stored)
    for part in (unknown[index] for index in range(len(unknown))):
        if part.wire_type == _BYTES:
            yield part.field_number, part.data


def _take_fork_param(layer: LayerParameter, stored: WeightsLayer) -> str:
    """Read the message of a fork's layer type, whatever number the fork gave it: it is the only one that such a layer
    has. Returns what cannot be read."""
    name = _FORK_PARAMS[stored.type]
    parts = [part for part in _messages(stored) if _FIRST_PARAM <= part[0] < _FIRST_OF_OURS]
    if len(parts) > 1:
        return f"its {name}"
    for number, content in parts:
        known = LayerParameter.DESCRIPTOR.fields_by_number.get(number)
        if known is not None:
            layer.ClearField(known.name)
        try:
            getattr(layer, name).MergeFromString(content)
        except DecodeError:
            return f"its {name}"
    return ""
