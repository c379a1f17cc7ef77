"""The sizes of a window that slides over the spatial axes: kernel, stride, pad, dilation."""

from __future__ import annotations

from google.protobuf.message import Message

from netspec.layers.base import LayerError

PAIRS = {
    "kernel_size": ("kernel_h", "kernel_w"),
    "stride": ("stride_h", "stride_w"),
    "pad": ("pad_h", "pad_w"),
}


def per_axis(message: Message, name: str, axes: int, default: int | None, path: str) -> tuple[int, ...]:
    """One size a spatial axis, from field `name` (one for all axes or one each) or from its _h and _w fields.

    `default` stands in for a field not given; None means that it must be given, if there are spatial axes. Every size
    but a pad is at least 1.
    """
    values, pair = _given(message, name), PAIRS.get(name, ())
    field = next((half for half in pair if message.HasField(half)), name)
    if field != name:
        values = _pair(message, name, pair, axes, default, path)
    if not values and default is None and axes:
        raise LayerError(f"{name} is missing", path)
    values = values or [default or 0]
    if len(values) not in (1, axes):
        raise LayerError(f"{name} is given {len(values)} times; the bottom has {axes} spatial axes", path, name)
    if name != "pad" and axes and min(values) < 1:
        raise LayerError(f"{name} must be at least 1, not {min(values)}", path, field)
    return tuple(values * axes if len(values) == 1 else values)


def _given(message: Message, name: str) -> list[int]:
    """The numbers of a field, repeated or not; empty where the text does not give it."""
    value = getattr(message, name)
    if isinstance(value, int):
        return [value] if message.HasField(name) else []
    return list(value)


def _pair(message: Message, name: str, pair: tuple[str, ...], axes: int, default: int | None, path: str) -> list[int]:
    """The sizes from the _h and _w fields. Only a pad may leave one of them out: it is 0 then."""
    given = [half for half in pair if message.HasField(half)]
    if _given(message, name):
        raise LayerError(f"give {name} or {pair[0]} and {pair[1]}, not both", path, name)
    if axes != 2:
        raise LayerError(f"{pair[0]} and {pair[1]} are for 2 spatial axes; the bottom has {axes}", path, given[0])
    if len(given) < 2 and default != 0:
        missing = next(half for half in pair if half not in given)
        raise LayerError(f"{given[0]} needs {missing} beside it", path, given[0])
    return [getattr(message, half) for half in pair]
