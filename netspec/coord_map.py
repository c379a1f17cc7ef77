"""Which place of one top a place of another is, and the Crop layer that lays the one on the other: pycaffe's coord_map,
with which FCN's nets are written."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from netspec.builder import Function, Top, write_layer
from netspec.layers.base import LayerError
from netspec.layers.window import per_axis

_AXES = 2
_WINDOWS = {"Convolution": "convolution_param", "Deconvolution": "convolution_param", "Im2col": "convolution_param",
            "Pooling": "pooling_param"}  # fmt: skip
_IN_PLACE = ("AbsVal", "BatchNorm", "Bias", "BNLL", "Dropout", "Eltwise", "ELU", "Exp", "Log", "LRN", "MVN", "Power",
             "PReLU", "ReLU", "Scale", "Sigmoid", "Split", "TanH", "Threshold")  # fmt: skip
"""The types that leave everything where it is."""


@dataclass(frozen=True)
class Line:
    """Along one axis the place x of one blob is the place scale * x + shift of another."""

    scale: Fraction = Fraction(1)
    shift: Fraction = Fraction(0)

    def after(self, first: Line) -> Line:
        """This map applied to what another gives."""
        return Line(self.scale * first.scale, self.scale * first.shift + self.shift)

    def inverse(self) -> Line:
        """The way back."""
        return Line(1 / self.scale, -self.shift / self.scale)


Lines = tuple[Line, ...]  # of the height and of the width


def crop(top_from: Top, top_to: Top) -> Any:
    """The Crop layer that cuts out of `top_from` what lies on `top_to`, which has its size.

    Its offset follows from the kernels, strides and pads of the layers on the way from both to a top that both come
    from. ValueError where there is none, or where no crop lays the one on the other.
    """
    of_from, of_to = _reached(top_from), _reached(top_to)
    shared = next((top for top in of_to if top in of_from), None)
    names = f"the tops of {top_from.fn.type_name} and {top_to.fn.type_name}"
    if shared is None:
        raise ValueError(f"{names} come from no common top by layers that keep places apart")
    offsets = []
    for line_from, line_to in zip(of_from[shared], of_to[shared], strict=True):
        line = line_to.after(line_from.inverse())
        if line.scale != 1:
            raise ValueError(f"{names} differ in scale: one pixel of the first is {line.scale} of the second")
        if line.shift > 0 or line.shift.denominator != 1:
            raise ValueError(f"no crop lays {names} on each other: it would begin at {-line.shift}")
        offsets.append(int(-line.shift))
    return write_layer("Crop", top_from, top_to, axis=2, offset=offsets if len(set(offsets)) > 1 else offsets[:1])


def _reached(top: Top) -> dict[Top, Lines]:
    """All tops that a top comes from by layers that keep places apart, nearest first, with the map of their places to
    its own."""
    reached: dict[Top, Lines] = {top: (Line(),) * _AXES}
    waiting = [top]
    for above in waiting:
        lines = _lines(above.fn)
        for bottom in _spatial_bottoms(above.fn) if lines else ():
            if bottom not in reached:
                reached[bottom] = tuple(after.after(first) for after, first in zip(reached[above], lines, strict=True))
                waiting.append(bottom)
    return reached


def _spatial_bottoms(fn: Function) -> list[Top]:
    """The bottoms whose places a layer's tops show; a Crop's second one only gives a size."""
    return fn.bottoms[:1] if fn.type_name == "Crop" else fn.bottoms


def _lines(fn: Function) -> Lines:
    """The map of places from a layer's bottoms to its tops; empty where it has none."""
    if fn.type_name in _IN_PLACE:
        return (Line(),) * _AXES
    if fn.type_name == "Crop":
        offsets = list(fn.param.crop_param.offset) or [0]
        return tuple(Line(shift=Fraction(-offset)) for offset in (offsets * _AXES if len(offsets) == 1 else offsets))
    if fn.type_name not in _WINDOWS:
        return ()
    lines = _window(fn, _WINDOWS[fn.type_name])
    return tuple(line.inverse() for line in lines) if fn.type_name == "Deconvolution" else lines


def _window(fn: Function, field: str) -> Lines:
    """The map of a layer with a window: its middle goes to the top's pixel."""
    message = getattr(fn.param, field)
    try:
        kernel = per_axis(message, "kernel_size", _AXES, None, field)
        stride, pad = (per_axis(message, name, _AXES, default, field) for name, default in (("stride", 1), ("pad", 0)))
        dilation = per_axis(message, "dilation", _AXES, 1, field) if field == "convolution_param" else (1,) * _AXES
    except LayerError as error:
        raise ValueError(f"{fn.type_name}: {error.reason}") from None
    middles = (Fraction(d * (k - 1), 2) - p for k, p, d in zip(kernel, pad, dilation, strict=True))
    return tuple(Line(Fraction(1, s), -middle / s) for s, middle in zip(stride, middles, strict=True))
