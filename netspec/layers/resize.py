"""Larger and smaller planes: Interp and Upsample, of forks."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from netspec.layers.axis import check_axes
from netspec.layers.base import Layer, LayerError, Shape, layer
from netspec.schema.netspec_pb2 import InterpParameter, LayerParameter, UpsampleParameter


@layer("Interp", bottoms=(1, 2))
class Interp(Layer):
    """x resized bilinearly with the corners aligned, of DeepLab's and PSPNet's forks.

    H, after `pad_beg` and `pad_end` (0 or less) cut it, becomes `height`; or (H - 1) / shrink_factor + 1 and then
    H + (H - 1) (zoom_factor - 1); a second bottom gives its own height and width. PyTorch: F.interpolate with
    align_corners.
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
        return F.interpolate(x, self.size, mode="bilinear", align_corners=True)


def _second_size(bottom: Shape) -> tuple[int, ...]:
    check_axes("Interp (the second bottom)", bottom, 4, 4)
    return bottom[2:]


def _interp_size(interp: InterpParameter, cut: Sequence[int]) -> tuple[int, ...]:
    """The size of the top where the text gives it: sizes themselves, or a shrinking before a zoom."""
    given = [field for field in ("height", "width", "zoom_factor", "shrink_factor") if interp.HasField(field)]
    if not given:
        raise LayerError("give height and width, zoom_factor or shrink_factor", "interp_param")
    for field in given:
        if getattr(interp, field) < 1:
            raise LayerError(f"{field} must be at least 1, not {getattr(interp, field)}", "interp_param", field)
    if "zoom_factor" in given or "shrink_factor" in given:
        shrunk = [(size - 1) // interp.shrink_factor + 1 for size in cut]
        return tuple(size + (size - 1) * (interp.zoom_factor - 1) for size in shrunk)
    if len(given) < 2:
        raise LayerError("height and width belong together", "interp_param", given[0])
    return interp.height, interp.width


@layer("Upsample", bottoms=(1, 2))
class Upsample(Layer):
    """A larger plane, of forks. One bottom (YOLO's): every pixel repeated `scale` times in both directions.

    Two bottoms (SegNet's): each value goes to the place in the top, h W + w, that the second bottom names (the second
    top of a MAX Pooling); all else is 0. The top is `upsample_h` by `upsample_w`, or `scale` times larger, less one row
    or column with `pad_out_h` or `pad_out_w`. PyTorch: F.interpolate in mode nearest, and F.max_unpool2d.
    """

    needs_top = False

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        check_axes("Upsample", bottoms[0], 4, 4)
        self.size = _upsample_size(param.upsample_param, bottoms[0])
        if len(bottoms) > 1 and bottoms[1] != bottoms[0]:
            raise LayerError(f"bottom 1, the places, is {bottoms[1]}, unlike bottom 0, {bottoms[0]}", "bottom")

    def forward(self, x: Tensor, places: Tensor | None = None) -> Tensor:
        if places is None:
            return F.interpolate(x, self.size, mode="nearest")
        plane = x.new_zeros(*x.shape[:2], self.size[0] * self.size[1])
        return plane.scatter(2, places.flatten(2).long(), x.flatten(2)).reshape(*x.shape[:2], *self.size)


def _upsample_size(upsample: UpsampleParameter, bottom: Shape) -> tuple[int, int]:
    sizes = []
    for axis, letter in ((2, "h"), (3, "w")):
        size, factor, odd = f"upsample_{letter}", f"scale_{letter}", f"pad_out_{letter}"
        if upsample.HasField(size):
            sizes.append(getattr(upsample, size))
            continue
        field = factor if upsample.HasField(factor) else "scale"
        scale = getattr(upsample, field)
        if scale < 1:
            raise LayerError(f"{field} must be at least 1, not {scale}", "upsample_param", field)
        if getattr(upsample, odd) and scale != 2:
            raise LayerError(f"{odd} needs a scale of 2, not {scale}", "upsample_param", odd)
        sizes.append(bottom[axis] * scale - getattr(upsample, odd))
    if min(sizes) < 1:
        raise LayerError(f"the top would have the size {tuple(sizes)}", "upsample_param")
    return sizes[0], sizes[1]
