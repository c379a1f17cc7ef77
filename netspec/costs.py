"""What a compiled net takes of a device's memory, looked at before any of it is allocated."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator

import torch
from torch import Tensor

from netspec.compiler import BuiltLayer, Compiled, layer_error

BYTES = 4  # of a float32


def check_memory(compiled: Compiled, device: torch.device) -> None:
    """SpecError at the first layer whose blobs or tops alone are larger than all memory of the device."""
    memory, taken = memory_of(device), 0
    for node in compiled.graph.nodes:
        for top in node.tops:
            shape = compiled.shapes[top]
            if (needed := math.prod(shape) * BYTES) > memory:
                takes, has = readable_size(needed), readable_size(memory)
                reason = f'the top "{top}" of shape {shape} takes {takes}; the device has {has}'
                raise layer_error(compiled.graph, node, reason)
    for layer, blob in own_blobs(compiled):
        taken += blob.numel() * BYTES
        if taken > memory:
            reason = f"up to here the params take {readable_size(taken)}; the device has {readable_size(memory)}"
            raise layer_error(compiled.graph, layer.node, reason)


def own_blobs(compiled: Compiled) -> Iterator[tuple[BuiltLayer, Tensor]]:
    """The blobs of all layers with their layer, one that several share under a name once."""
    seen = set()
    for layer in compiled.layers:
        specs = layer.node.param.param
        for index, blob in enumerate(layer.module.blobs()):
            name = specs[index].name if index < len(specs) else ""
            if name not in seen:
                yield layer, blob
            seen |= {name} - {""}


def memory_of(device: torch.device) -> int:
    """Bytes of memory, in use or not."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[1])
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def readable_size(count: float) -> str:
    """A number of bytes in the largest unit that leaves at least 1."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} PB"
