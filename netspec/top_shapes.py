"""The shapes of a layer's tops, found by running it on meta tensors, once on a machine.

PyTorch computes many operations on meta tensors in Python, and the first of them loads what `torch.compile` is made of:
more than a second at the start of each run, which a remembered shape saves.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from netspec.files import cache_folder
from netspec.layers import base
from netspec.layers.base import LAYER_TYPES, Layer, Shape
from netspec.machine_memory import MachineMemory, digest, layer_text, stamp
from netspec.schema.netspec_pb2 import LayerParameter

_OWN = f"{Layer.__module__.rpartition('.')[0]}."


def top_shapes(layer: Layer, param: LayerParameter, bottoms: Sequence[Shape]) -> list[Shape]:
    """The shapes of a built layer's tops; raises whatever its forward does with bottoms of these shapes."""
    if not _depends_on_text_alone(layer, param):
        return _run_on_meta(layer, bottoms)
    memory, key = _memory(cache_folder()), digest(f"{layer_text(param)} {len(param.top)} {bottoms}")
    shapes = memory.get(key)
    if shapes is None:
        shapes = [list(shape) for shape in _run_on_meta(layer, bottoms)]
        memory.put(key, shapes)
    return [tuple(shape) for shape in shapes]


def remember_shapes() -> None:
    """Keep what was found out for the next run."""
    _memory(cache_folder()).write()


def _run_on_meta(layer: Layer, bottoms: Sequence[Shape]) -> list[Shape]:
    with torch.no_grad():
        tops = layer(*[torch.empty(shape, device="meta") for shape in bottoms])
    return [tuple(top.shape) for top in ([tops] if isinstance(tops, Tensor) else tops or ())]


def _depends_on_text_alone(layer: Layer, param: LayerParameter) -> bool:
    """Whether no file and no code of the user's has a say in the shapes."""
    reads_files = type(layer).open_files is not Layer.open_files
    return not reads_files and not LAYER_TYPES[param.type].runs_code and type(layer).__module__.startswith(_OWN)


@lru_cache(maxsize=1)
def _memory(folder: Path) -> MachineMemory[list[list[int]]]:
    """The shapes that are known in a cache folder, as this PyTorch and these sources of the layers find them."""
    return MachineMemory(folder, "shapes", f"{torch.__version__} {stamp(Path(base.__file__).parent)}", _are_shapes)


def _are_shapes(entry: object) -> bool:
    return isinstance(entry, list) and all(
        isinstance(shape, list) and all(isinstance(size, int) and size >= 0 for size in shape) for shape in entry
    )
