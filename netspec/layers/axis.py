"""Axes as the text gives them: counted from the front, or from the back where negative."""

from __future__ import annotations

from netspec.layers.base import LayerError, Shape
from netspec.schema.netspec_pb2 import ConcatParameter, SliceParameter


def canonical_axis(axis: int, shape: Shape, *field: str) -> int:
    """`axis` counted from the front. LayerError where a blob of this shape has no such axis."""
    if not -len(shape) <= axis < len(shape):
        raise LayerError(f"axis {axis} does not exist: the bottom has {len(shape)} axes", *field)
    return axis % len(shape)


def check_axes(kind: str, shape: Shape, least: int, most: int | None = None) -> None:
    """LayerError unless the bottom has from `least` to `most` axes (no limit where None)."""
    if len(shape) >= least and (most is None or len(shape) <= most):
        return
    wanted = f"{least}" if most == least else f"at least {least}" if most is None else f"{least} to {most}"
    raise LayerError(f"{kind} needs a bottom of {wanted} axes, not {len(shape)}")


def renamed_axis(message: ConcatParameter | SliceParameter, old: str, shape: Shape, path: str) -> int:
    """The canonical `axis` of a message that once called it `old` (never negative there)."""
    if not message.HasField(old):
        return canonical_axis(message.axis, shape, path, "axis")
    if message.HasField("axis"):
        raise LayerError(f"give axis or {old}, not both", path, old)
    return canonical_axis(getattr(message, old), shape, path, old)
