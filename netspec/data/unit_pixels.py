"""Means and deviations of other libraries, where pixels are from 0 to 1 and in RGB."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from netspec.schema.netspec_pb2 import LayerParameter

_OF_PIXELS = ("Data", "ImageData", "WindowData")
_UNIT_SCALE = 0.1
"""A scale below this brings pixels of 0 to 255 to about 0 to 1."""


def unit_numbers(layer: LayerParameter) -> Iterator[tuple[str, str]]:
    """The fields of a data layer's transform_param that are meant for pixels from 0 to 1, where those here are from 0
    to 255; and for each what is wrong."""
    transform = layer.transform_param
    if layer.type not in _OF_PIXELS:
        return
    is_unit_mean = 0 < max(transform.mean_value, default=0) < 1
    if is_unit_mean:
        yield "mean_value", _meant("mean_value", transform.mean_value)
        if transform.scale < _UNIT_SCALE:
            yield "scale", f"scale {transform.scale:g} comes after the mean, which is of pixels from 0 to 255"
    if max(transform.std_value, default=1) < 1 and (is_unit_mean or transform.scale >= _UNIT_SCALE):
        yield "std_value", _meant("std_value", transform.std_value)


def _meant(field: str, values: Sequence[float]) -> str:
    """That the values are of another range and order, and what they are here."""
    there, here = (", in RGB", ", in BGR") if len(values) == 3 else ("", "")
    given, meant = (" ".join(f"{value:.6g}" for value in each) for each in (values, [255 * v for v in values[::-1]]))
    return f"{field} {given} is of pixels from 0 to 1{there}; here they go to 255{here}: {meant}"
