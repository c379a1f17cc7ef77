"""Whose fields a message uses that Caffe itself does not know: netspec's own, or those of a fork."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.message import Message

from netspec import forks
from netspec.positions import FieldPath
from netspec.schema.comments import comments
from netspec.schema.netspec_pb2 import LayerParameter

OURS = "Ours"

_FIRST_OF_FORKS = 10000
"""Fields and values from this number on are not in Caffe's own schema."""


def foreign(message: Message, where: FieldPath = ()) -> Iterator[tuple[str, str, FieldPath]]:
    """Fork (`OURS`: netspec), name and place of every field, value and layer type that Caffe itself would refuse."""
    for descriptor, content in message.ListFields():
        for index, value in enumerate(content if hasattr(content, "extend") else [content]):
            place = (*where, descriptor.name, index)
            if descriptor.number >= _FIRST_OF_FORKS:
                owner = forks.of_bn(value) if descriptor.name == "bn_param" else None
                yield owner or _owner(message.DESCRIPTOR.name, descriptor.name), descriptor.name, place
            if isinstance(value, Message):
                yield from foreign(value, place)
            elif descriptor.enum_type is not None and value >= _FIRST_OF_FORKS:
                name = descriptor.enum_type.values_by_number[value].name
                yield forks.VALUES.get(name, "a fork"), name, place
    if isinstance(message, LayerParameter) and message.type in forks.TYPES:
        fork = forks.of_bn(message.bn_param) if message.type == "BN" else forks.TYPES[message.type]
        yield fork, message.type, (*where, "type", 0)


def _owner(message: str, name: str) -> str:
    if comments()[f"{message}.{name}"].startswith(OURS):
        return OURS
    return forks.of_field(message, name) or "a fork"
