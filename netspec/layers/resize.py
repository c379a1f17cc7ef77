"""Larger and smaller planes: Interp and Upsample, of forks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from netspec.layers.axis import check_axes
from netspec.layers.base import Layer, LayerError, Shape, layer
from netspec.layers.selection import check_indices
from netspec.schema.netspec_pb2 import InterpParameter, LayerParameter, UpsampleParameter

PATH = "upsample_param"


@layer("Interp", bottoms=(1, 2))
class Interp(Layer):
    """x resized bilinearly with the corners aligned, of DeepLab's and PSPNet's forks.

    H, after `pad_beg` and `pad_end` (0 or less) cut it, becomes `height`; or (H - 1) / shrink_factor + 1 and then
    H + (H - 1) (zoom_factor - 1); a second bottom gives its own height and width. One factor alone wins over `height`
    and `width`, these over both factors. PyTorch: F.interpolate with align_corners, apart from rounding: a plane of one
    label stays that label.
    """

    needs_top = False

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        interp = param.interp_param
        check_axes("Interp", bottoms[0], 4, 4)
        for field in ("pad_beg", "pad_end"):
            if getattr(interp, field) > 0:
                raise LayerError(f"{field} cuts, so it is 0 or less", "interp_param", field)
        self.begin, self.end = -interp.pad_beg, -interp.pad_end
        cut = tuple(size - self.begin - self.end for size in bottoms[0][2:])
        if min(cut) < 1:
            raise LayerError(f"nothing is left of {bottoms[0]}", "interp_param", "pad_beg" if self.begin else "pad_end")
        self.size = _interp_size(interp, cut) if len(bottoms) == 1 else _second_size(bottoms[1])
        if min(self.size) < 1:
            raise LayerError(f"the top would have the size {self.size}", "interp_param")

    def forward(self, x: Tensor, *_: Tensor) -> Tensor:
        x = x[:, :, self.begin : x.shape[2] - self.end, self.begin : x.shape[3] - self.end]
        if x.shape[2:] == self.size:
            return x.clone()  # no view: a layer in place on the top would overwrite the bottom
        return _along(_along(x, 3, self.size[1]), 2, self.size[0])


def _along(x: Tensor, axis: int, size: int) -> Tensor:
    """x resized linearly along one axis, the first and the last value kept.

    In the fork's order of operations, which leaves labels whole: PyTorch's F.interpolate makes 14.999998 of fifteens.
    """
    last = x.shape[axis] - 1
    if size == last + 1:
        return x
    places = torch.arange(size, dtype=torch.float32, device=x.device) * (last / max(size - 1, 1))
    low = places.long()
    part = (places - low).to(x.dtype).reshape(-1, *(1,) * (x.dim() - axis - 1))
    return (1 - part) * x.index_select(axis, low) + part * x.index_select(axis, (low + 1).clamp(max=last))


def _second_size(bottom: Shape) -> tuple[int, ...]:
    check_axes("Interp (the second bottom)", bottom, 4, 4)
    return bottom[2:]


def _interp_size(interp: InterpParameter, cut: Sequence[int]) -> tuple[int, ...]:
    """The size of the top where the text gives it: one factor alone wins over the sizes, the sizes over both."""
    shrinks, zooms = interp.HasField("shrink_factor"), interp.HasField("zoom_factor")
    if shrinks == zooms and _has_both(interp, "interp_param", "height", "width"):
        return interp.height, interp.width
    if not shrinks and not zooms:
        raise LayerError("give height and width, zoom_factor or shrink_factor", "interp_param")
    for field in ("shrink_factor", "zoom_factor"):
        if getattr(interp, field) < 1:
            raise LayerError(f"{field} must be at least 1, not {getattr(interp, field)}", "interp_param", field)
    shrunk = [(size - 1) // interp.shrink_factor + 1 for size in cut]
    return tuple(size + (size - 1) * (interp.zoom_factor - 1) for size in shrunk)


def _has_both(message: InterpParameter | UpsampleParameter, path: str, height: str, width: str) -> bool:
    """Whether a message gives both of a pair of fields. LayerError where it gives one of them."""
    given = [field for field in (height, width) if message.HasField(field)]
    if len(given) == 1:
        raise LayerError(f"{height} and {width} belong together", path, *given)
    return bool(given)


@layer("Upsample", bottoms=(1, 2))
class Upsample(Layer):
    """A larger plane, of forks. One bottom (YOLO's): every pixel repeated `scale` times in both directions.

    Two bottoms (SegNet's): each value goes to the place in the top, h W + w, that the second bottom names (the second
    top of a MAX Pooling); all else is 0. The top is `upsample_h` by `upsample_w`, or `scale` times larger, less one row
    or column with `pad_out_h` or `pad_out_w`. Raises DataError for a place outside it (CPU). PyTorch: F.interpolate in
    mode nearest, and F.max_unpool2d.
    """

    needs_top = False
    takes_16_bits = True

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        check_axes("Upsample", bottoms[0], 4, 4)
        self.size = _upsample_size(param.upsample_param, bottoms[0])
        if len(bottoms) > 1 and bottoms[1] != bottoms[0]:
            raise LayerError(f"bottom 1, the places, is {bottoms[1]}, unlike bottom 0, {bottoms[0]}", "bottom")

    def forward(self, x: Tensor, places: Tensor | None = None) -> Tensor:
        if places is None:
            return F.interpolate(x, self.size, mode="nearest")
        check_indices(self.name, places, self.size[0] * self.size[1])
        plane = x.new_zeros(*x.shape[:2], self.size[0] * self.size[1])
        return plane.scatter(2, places.flatten(2).long(), x.flatten(2)).reshape(*x.shape[:2], *self.size)


def _upsample_size(upsample: UpsampleParameter, bottom: Shape) -> tuple[int, int]:
    if _has_both(upsample, PATH, "upsample_h", "upsample_w"):
        sizes = upsample.upsample_h, upsample.upsample_w
    else:
        each = _has_both(upsample, PATH, "scale_h", "scale_w")
        if each and upsample.HasField("scale"):
            raise LayerError("give scale, or scale_h and scale_w, not both", PATH, "scale")
        height = _scaled(upsample, bottom[2], "scale_h" if each else "scale", "pad_out_h")
        width = _scaled(upsample, bottom[3], "scale_w" if each else "scale", "pad_out_w")
        sizes = height, width
    if min(sizes) < 1:
        raise LayerError(f"the top would have the size {sizes}", PATH)
    return sizes


def _scaled(upsample: UpsampleParameter, size: int, field: str, odd: str) -> int:
    """A size times the factor of this field, less the one that the pooling rounded up where the field `odd` says so."""
    scale: int = getattr(upsample, field)
    if scale < 1:
        raise LayerError(f"{field} must be at least 1, not {scale}", PATH, field)
    if getattr(upsample, odd) and scale != 2:
        raise LayerError(f"{odd} needs a scale of 2, not {scale}", PATH, odd)
    return size * scale - int(getattr(upsample, odd))
