"""The images behind scores, from the data layer that fed the net, and a sheet of those wrongly predicted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from netspec.data.sheet import Section, draw_sheet
from netspec.data.undo import pixels_of
from netspec.errors import DataError
from netspec.evaluation.wrong import Wrong
from netspec.graph import Node
from netspec.layers.sources import Source
from netspec.net import Net
from netspec.scores import Scores

Find = Callable[[str], Path]

_IMAGE_AXES = 4

_LETTERS = 17
"""Of a line below the narrowest tile of a sheet."""


def image_layer(net: Net) -> tuple[Node, Source] | None:
    """The one data layer of a net that gives images; None where there is none, or which is not known."""
    giving = [(node, source) for node, source in net.sources if len(source.shapes[0]) == _IMAGE_AXES]
    return giving[0] if len(giving) == 1 else None


def pictures_of(layer: tuple[Node, Source], find: Find, scores: Scores, rows: Sequence[int]) -> NDArray[np.uint8]:
    """The pixels (R, C, H, W) of some rows of scores, as a data layer has them in its order; `find` gives the places of
    its files. DataError where it has other images, as far as their number and labels tell."""
    node, source = layer
    if source.epoch_size != len(scores.keys):
        reason = f'layer "{node.name}" gives {source.epoch_size} images, the scores are of {len(scores.keys)}'
        raise DataError(f"{scores.origin}: {reason}")
    wanted, found, start = {row: place for place, row in enumerate(rows)}, dict[int, torch.Tensor](), 0
    for tops in source.once():
        batch = range(start, start + len(tops[0]))
        _hold_labels(scores, batch, tops)
        found.update({wanted[row]: tops[0][row - start].cpu() for row in batch if row in wanted})
        start = batch.stop
        if len(found) == len(wanted):
            break
    images = torch.stack([found[place] for place in range(len(rows))]).numpy()
    return pixels_of(images, node.param, find)[0]


def _hold_labels(scores: Scores, batch: range, tops: Sequence[torch.Tensor]) -> None:
    """DataError where a batch's labels are not those of the scores."""
    if scores.labels is None or len(tops) < 2 or tops[1].dim() != 1:
        return
    other = np.flatnonzero(tops[1].cpu().numpy() != scores.labels[batch.start : batch.stop])
    if other.size:
        place = int(other[0])
        row = batch.start + place
        reason = (
            f"{scores.keys[row]} has the label {scores.labels[row]}, that image of the net's data {tops[1][place]:g}"
        )
        raise DataError(f"{scores.origin}: these are no scores of this data: {reason}")


def draw_wrong(wrong: Sequence[Wrong], images: NDArray[np.uint8], names: Sequence[str], out: Path) -> None:
    """Draw images with their labels, and below these the predictions with their probabilities, as a PNG; DataError
    where it cannot be written."""
    captions = [
        f"{_cut(names[one.label] or str(one.label))}\n"
        f"{_cut(f'{one.probability:.2f}: {names[one.prediction] or one.prediction}')}"
        for one in wrong
    ]
    title = (
        f"The {len(wrong)} images most wrongly sure of, the surest first. Below each: its label, then the prediction "
        "with its probability."
    )
    draw_sheet([Section(title, images, captions)], out)


def _cut(text: str) -> str:
    return text if len(text) <= _LETTERS else f"{text[: _LETTERS - 2]}.."
