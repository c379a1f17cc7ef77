"""Makes a layer's message from Python keywords, and says which keyword or value is wrong."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from netspec.errors import nearest
from netspec.schema.netspec_pb2 import LayerParameter
from netspec.words import right_field

Field: TypeAlias = Any
"""A FieldDescriptor: protobuf's stubs know two of them, unrelated."""

_LAYER_FIELDS: Mapping[str, Field] = LayerParameter.DESCRIPTOR.fields_by_name

_OWN_MESSAGES: dict[str, Field] = {
    field.message_type.name.removesuffix("Parameter"): field
    for name, field in _LAYER_FIELDS.items()
    if name.endswith("_param")
}
"""The field that a layer type's own keywords go into. As in pycaffe, its message is named after the type: the
keywords of a type that reads another's message, such as Deconvolution, name that field themselves."""

_READERS = {"recurrent_param": ("LSTM", "RNN")}
"""The types that read a message named after none of them and share its fields with others."""

_WANTED = {
    FieldDescriptor.CPPTYPE_STRING: "a string",
    FieldDescriptor.CPPTYPE_BOOL: "a bool",
    FieldDescriptor.CPPTYPE_INT32: "a whole number",
    FieldDescriptor.CPPTYPE_INT64: "a whole number",
    FieldDescriptor.CPPTYPE_UINT32: "a whole number from 0 on",
    FieldDescriptor.CPPTYPE_UINT64: "a whole number from 0 on",
}


def layer_parameter(type_name: str, params: Mapping[str, Any]) -> LayerParameter:
    """A layer's message from keywords: those of its own message first, then those of LayerParameter."""
    param = LayerParameter()
    own = _OWN_MESSAGES.get(type_name)
    own_fields = own.message_type.fields_by_name if own is not None else {}
    for name, value in params.items():
        if own is not None and name in own_fields:
            _set(getattr(param, own.name), own_fields[name], value, type_name)
        elif name in _LAYER_FIELDS:
            _set(param, _LAYER_FIELDS[name], value, type_name)
        else:
            raise _no_field(type_name, name, own_fields)
    return param


def with_nearest(reason: str, name: str, known: Iterable[str]) -> str:
    """A reason why `name` is wrong, with the known name that is nearest to it."""
    hint = nearest(name, known)
    return f"{reason}; {hint}" if hint else reason


def _no_field(type_name: str, name: str, own_fields: Mapping[str, Field]) -> TypeError:
    """The error for a keyword that is no field; a type without a message of its own may read another's that has it."""
    reason = f'{type_name} has no field "{name}"'
    holders = [field.name for field in _OWN_MESSAGES.values() if name in field.message_type.fields_by_name]
    if holders and not own_fields:
        holder = next((read for read in holders if type_name in _READERS.get(read, ())), holders[0])
        return TypeError(f"{reason}; it belongs into a message, as in {holder}=dict({name}=...)")
    return TypeError(with_nearest(reason, name, [*own_fields, *_LAYER_FIELDS]))


def _fill(message: Message, values: Mapping[str, Any], what: str) -> None:
    """Set the fields of a message from a dict."""
    fields: Mapping[str, Field] = message.DESCRIPTOR.fields_by_name
    for name, value in values.items():
        if name not in fields:
            kind: Any = message.DESCRIPTOR
            hint = right_field(kind, str(name))
            raise TypeError(f'{what} has no field "{name}"{hint and f"; {hint}"}')
        _set(message, fields[name], value, what)


def _set(message: Message, field: Field, value: Any, what: str) -> None:
    """Set one field, repeated or not, of the layer type (or of the message in it) that `what` names."""
    content = getattr(message, field.name)
    is_repeated = hasattr(content, "extend")
    is_list = isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping))
    what = f"{what}: {field.name}"
    if is_list and not is_repeated:
        raise TypeError(f"{what} takes one value, not a {type(value).__name__}")
    for one in value if is_list else [value]:
        if field.message_type is not None:
            _set_message(content.add() if is_repeated else content, one, what)
        else:
            _set_value(message, field, one, what)


def _set_message(message: Message, value: Any, what: str) -> None:
    if isinstance(value, type(message)):
        message.CopyFrom(value)
    elif isinstance(value, Mapping):
        message.SetInParent()
        _fill(message, value, what)
    else:
        raise TypeError(f"{what} takes a dict of fields, not {_shown(value)}")


def _set_value(message: Message, field: Field, value: Any, what: str) -> None:
    """Set or append a number, string or enum value."""
    if field.enum_type is not None and isinstance(value, str):
        values = field.enum_type.values_by_name
        if value not in values:
            raise ValueError(with_nearest(f'{what} has no value "{value}"', value, values))
        value = values[value].number
    content = getattr(message, field.name)
    try:
        if hasattr(content, "extend"):
            content.append(value)
            stored = content[-1]
        else:
            setattr(message, field.name, value)
            stored = getattr(message, field.name)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{what} takes {_wanted(field)}, not {_shown(value)}") from None
    if isinstance(stored, float) and not math.isfinite(stored):
        raise ValueError(f"{what} takes {_wanted(field)} that a text can hold, not {_shown(value)}")


def _wanted(field: Field) -> str:
    """What a field that is no message takes."""
    if field.enum_type is not None:
        return f"one of {', '.join(field.enum_type.values_by_name)}"
    return _WANTED.get(field.cpp_type, "a number")


def _shown(value: Any) -> str:
    return f'"{value[:40]}"' if isinstance(value, str) else repr(value)[:40]
