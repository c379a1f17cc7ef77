"""The blobs of a weights file, whatever its format, and when a stored shape is that of a blob."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

Blobs = dict[str, list["np.ndarray | None"]]
"""The blobs of every layer that has some, by layer name, in Caffe's order, float32. None stands where a file leaves a
blob out that the layer shares with another one."""

Arrays = Mapping[str, Sequence["np.ndarray"]]
"""What is to be written of every layer that has blobs, by layer name: the blobs, or their diffs."""

_ENTRY = re.compile(r"(?s:(.*))/(0|[1-9]\d{0,2})", re.ASCII)


def by_layer(entries: Mapping[str, np.ndarray]) -> Blobs:
    """The blobs of a file that keeps each under LAYER/INDEX; ValueError for another name."""
    found: dict[str, dict[int, np.ndarray]] = {}
    for entry, array in entries.items():
        match = _ENTRY.fullmatch(entry)
        if match is None:
            raise ValueError(f'"{entry}" is not of the form LAYER/0, LAYER/1, ...')
        found.setdefault(match[1], {})[int(match[2])] = array
    return {layer: [blobs.get(index) for index in range(max(blobs) + 1)] for layer, blobs in sorted(found.items())}


def same_shape(stored: Sequence[int], wanted: Sequence[int]) -> bool:
    """Whether a stored blob fits: Caffe's old files pad every shape with ones in front to four dimensions."""
    return _without_leading_ones(stored) == _without_leading_ones(wanted)


def _without_leading_ones(shape: Sequence[int]) -> tuple[int, ...]:
    start = next((index for index, size in enumerate(shape) if size != 1), len(shape))
    return tuple(shape[start:])
