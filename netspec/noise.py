"""Random numbers in the place of a net's data."""

from __future__ import annotations

import torch
from torch import Tensor

from netspec.layers import Layer
from netspec.layers.embed import Embed
from netspec.memory_format import laid_out
from netspec.net import Net


def made_inputs(net: Net) -> dict[str, Tensor]:
    """Random numbers from 0 to below 1 for every input of a net, and whole ones where a layer reads labels or the
    numbers of words; on its device and in its memory format."""
    most: dict[str, int] = {}
    for layer in net.compiled.layers:
        for bottom, count in zip(layer.node.bottoms, _counts(layer.module), strict=False):
            if count:
                most[bottom] = min(count, most.get(bottom, count))
    inputs = {}
    for name in net.compiled.inputs:
        blob = torch.rand(net.blob_shapes[name], device=net.device)
        inputs[name] = laid_out((blob * most[name]).floor() if name in most else blob, net.memory_format)
    return inputs


def _counts(layer: Layer) -> tuple[int, ...]:
    """For each bottom how many whole numbers it may hold, from 0; 0 for one of any numbers."""
    if isinstance(layer, Embed):
        return (layer.blobs()[0].shape[0],)
    return (0, 0 if getattr(layer, "shares", False) else getattr(layer, "classes", 0))
