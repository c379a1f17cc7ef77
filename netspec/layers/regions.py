"""ROIPooling: what a net sees in each region of an image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from netspec.layers.axis import check_axes
from netspec.layers.base import Layer, LayerError, Shape, layer
from netspec.schema.netspec_pb2 import LayerParameter

PATH = "roi_pooling_param"


@layer("ROIPooling", bottoms=2)
class ROIPooling(Layer):
    """The largest value in each cell of a pooled_h x pooled_w grid over each region, of Fast R-CNN's fork.

    Bottoms: x (N, C, H, W); regions (R, 5): index of the image, x1, y1, x2, y2. Corners are multiplied by
    `spatial_scale` and rounded, half away from zero; both belong to the region, so a side is x2 - x1 + 1 and at least
    1. Cell i of n spans floor(i side / n) to ceil((i + 1) side / n); an empty one gives 0. Regions get no gradient.
    torchvision: the same as its roi_pool.
    """

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        pooling = param.roi_pooling_param
        check_axes("ROIPooling", bottoms[0], 4, 4)
        if not bottoms[1] or bottoms[1][0] * 5 != torch.Size(bottoms[1]).numel():
            raise LayerError(f"bottom 1 is {bottoms[1]}; a region is 5 numbers", "bottom")
        for field in ("pooled_h", "pooled_w"):
            if not getattr(pooling, field):
                raise LayerError(f"{field} must be given and at least 1", PATH, field)
        self.size = (int(pooling.pooled_h), int(pooling.pooled_w))
        self.spatial_scale = pooling.spatial_scale

    def forward(self, x: Tensor, regions: Tensor) -> Tensor:
        if x.is_meta:
            return x.new_empty(regions.shape[0], x.shape[1], *self.size)
        from torchvision.ops import roi_pool  # takes half a second to load, and few nets need it

        top: Tensor = roi_pool(x.contiguous(), regions.detach().reshape(-1, 5), self.size, self.spatial_scale)
        return top
