"""The reference page of all layer types: what each computes and takes, from its docstring and the schema's comments."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from netspec.layers import LAYER_TYPES
from netspec.layers.base import Count
from netspec.layers.sources import SOURCE_TYPES
from netspec.schema.comments import comments
from netspec.schema.netspec_pb2 import DESCRIPTOR, LayerParameter

INTRODUCTION = """# Layer types

What `python tools/layers.py` prints. Every layer has `name`, `type`, `bottom`, `top`, `include`, `exclude`,
`loss_weight`, `propagate_down` and `param` (see `LayerParameter` in `../schema/netspec.proto`); below each type stand
the fields that are its own, with their defaults; the messages that such fields hold come last. A negative axis counts
from the end; N is the number of items in a batch. A blob without a filler starts at 0, for weights too, unless its
layer says otherwise.
"""


def layer_types() -> list[str]:
    """The names of all layer types, A to Z."""
    return sorted([*LAYER_TYPES, *SOURCE_TYPES, "Input"])


def message_names() -> list[str]:
    """The names of all messages of the schema, A to Z."""
    return sorted(DESCRIPTOR.message_types_by_name)


def page() -> str:
    """The whole page, in Markdown: the layer types, and then the messages that those of several types hold."""
    inside = {message.name for name in layer_types() for message in _inside(name)}
    return "\n".join([INTRODUCTION, *map(entry, layer_types()), *map(message_entry, sorted(inside))])


def explained(name: str) -> str:
    """The entry of a layer type with those of the messages that its fields hold, or that of a message."""
    if name not in layer_types():
        return message_entry(name)
    return "\n".join([entry(name), *(message_entry(message.name) for message in _inside(name))])


def entry(name: str) -> str:
    """What is to be known of one layer type, in Markdown: its rule, its bottoms and tops, its fields."""
    lines = [f"## {name}\n", _rule(name), ""]
    if name in LAYER_TYPES:
        layer_type = LAYER_TYPES[name]
        lines += [f"Bottoms: {_count(layer_type.bottoms)}. Tops: {_count(layer_type.tops)}.", ""]
    for field, message in _messages_of(name):
        lines += [f"| `{field}` | | |", "|---|---|---|", *_rows(message), ""]
    return "\n".join(lines)


def message_entry(name: str) -> str:
    """What is to be known of a message, in Markdown."""
    message = DESCRIPTOR.message_types_by_name[name]
    return "\n".join([f"## {name}\n", comments()[name], "", "| field | | |", "|---|---|---|", *_rows(message), ""])


def _rule(name: str) -> str:
    """The docstring of a type's class; where it has none, what the schema says of its message."""
    built = LAYER_TYPES[name].build if name in LAYER_TYPES else SOURCE_TYPES.get(name)
    if docstring := getattr(built, "__doc__", None):
        return inspect.cleandoc(docstring)
    rule = comments()[f"{name}Parameter"].partition(": ")[2]
    return rule[:1].upper() + rule[1:]


def _count(count: Count) -> str:
    least, most = (count, count) if isinstance(count, int) else count
    return str(least) if least == most else f"{least} or more" if most is None else f"{least} to {most}"


def _messages_of(name: str) -> Iterator[tuple[str, Any]]:
    """The fields of a layer that its type reads, with the descriptors of their messages: the fields' comments name the
    types, before a colon or a full stop."""
    for field in LayerParameter.DESCRIPTOR.fields:
        readers = re.split(r"[.:]", comments()[f"LayerParameter.{field.name}"])[0]
        if field.message_type is not None and name in readers.split(", "):
            yield field.name, field.message_type


def _inside(name: str) -> list[Any]:
    """The descriptors of the messages that the fields of a layer type's own messages hold, at whatever depth, once
    each."""
    own = [message for _, message in _messages_of(name)]
    found, left = dict[str, Any](), list(own)
    while left:
        for field in left.pop(0).fields:
            inner = field.message_type
            if inner is not None and inner not in own and inner.name not in found:
                found[inner.name] = inner
                left.append(inner)
    return list(found.values())


def _rows(message: Any) -> Iterator[str]:
    for field in message.fields:
        yield f"| `{field.name}` | {_type(field)} | {comments()[f'{message.name}.{field.name}']} |"


def _type(field: Any) -> str:
    """What a field takes, and its default where it has one."""
    is_repeated = isinstance(field.default_value, list)
    if field.enum_type is not None:
        kind = ", ".join(value.name for value in field.enum_type.values)
        default = field.enum_type.values_by_number[field.default_value].name if not is_repeated else ""
    elif field.message_type is not None:
        kind, default = field.message_type.name, ""
    else:
        kind = {FieldDescriptor.CPPTYPE_STRING: "text", FieldDescriptor.CPPTYPE_BOOL: "bool"}.get(field.cpp_type, "")
        kind = kind or ("float" if field.cpp_type == FieldDescriptor.CPPTYPE_FLOAT else "int")
        default = _default(field)
    many = ", any number of times" if is_repeated else ""
    return f"{kind}{many}{f'; {default}' if default else ''}"


def _default(field: Any) -> str:
    if not field.has_default_value:
        return ""
    value = field.default_value
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
