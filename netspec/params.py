"""The enums of the messages by name, in pycaffe's way: ``P.Pooling.MAX`` is PoolingParameter's number for MAX."""

from __future__ import annotations

from google.protobuf.descriptor import Descriptor

from netspec.keywords import with_nearest
from netspec.schema import netspec_pb2

_MESSAGES: dict[str, Descriptor] = {
    name.removesuffix("Parameter"): message
    for name, message in netspec_pb2.DESCRIPTOR.message_types_by_name.items()
    if name.endswith("Parameter")
}


class Enums:
    """The values of all enums of one message, as attributes."""

    def __init__(self, message: Descriptor) -> None:
        self._message = message

    def __getattr__(self, name: str) -> int:
        values = self._message.enum_values_by_name
        if name not in values:
            raise AttributeError(with_nearest(f'{self._message.name} has no value "{name}"', name, values))
        return int(values[name].number)


def __getattr__(name: str) -> Enums:
    if name not in _MESSAGES:
        raise AttributeError(with_nearest(f'there is no message "{name}Parameter"', name, _MESSAGES))
    return Enums(_MESSAGES[name])
