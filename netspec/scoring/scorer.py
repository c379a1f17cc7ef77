"""Runs a net over images for their scores."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from netspec.data.captions import lines_at
from netspec.layers.sources import SourceContext
from netspec.loading import LoadReport
from netspec.net import Net, open_device
from netspec.schema.netspec_pb2 import TEST, NetParameter, NetState
from netspec.scores import Scores
from netspec.scoring.crops import CENTER, Crops
from netspec.scoring.data import open_data
from netspec.scoring.names import class_numbers, known_names, read_names
from netspec.scoring.preparation import Preparation
from netspec.scoring.text import scored_text
from netspec.spec import Document

SCORES, SOFTMAX = AVERAGES = ("scores", "softmax")
"""What is averaged over the windows of an image."""

_ROW = 2

_PASSING = ("Flatten", "Reshape", "Dropout")
"""Layer types that give what they read, in TEST, but for its shape."""


class Scorer:
    """The deploy view of a net, with images to score.

    `net` is the path or document of a train/test or deploy net, of which the layers of `state` count (TEST), or the
    path of a .caffemodel; `weights` are files as `Net.load` takes them. `images` is what is scored in place of the
    net's own data (see `open_data`), `given` what is said of them over the text, and `crops` what is cut out of each.
    `blob` names the scores where the net has several outputs. Raises SpecError, DataError, SnapshotError.
    """

    def __init__(
        self,
        net: str | Path | Document[NetParameter],
        weights: str | Path,
        images: str | Path | Sequence[str | Path] | None = None,
        *,
        state: NetState | None = None,
        given: Preparation | None = None,
        crops: Crops = CENTER,
        blob: str = "",
        device: str | torch.device = "cpu",
        allow_python: bool = False,
    ) -> None:
        self._text = scored_text(net, state)
        self._crops = crops
        self._set = Path(images) if isinstance(images, (str, Path)) else None
        context = SourceContext(TEST, device=open_device(device))
        self._node, self._source = open_data(self._text, images, given or Preparation(), crops, context)
        shapes = dict(zip(self._node.tops, self._source.shapes, strict=True))
        windows = {name: (shape[0] * len(crops), *shape[1:]) for name, shape in shapes.items()}
        view = self._text.view(windows, blob)
        self.net = Net(view, "TEST", device=device, allow_python=allow_python)
        if lacking := [name for name in self.net.compiled.inputs if name not in shapes]:
            raise view.error(f"the net needs the input {', '.join(lacking)}, which its data layer does not give")
        self.blob = _raw_scores(self.net, blob)
        self.classes = _classes(self.net, self.blob, windows[self.net.compiled.inputs[0]][0])
        self.report: LoadReport = self.net.load(weights, whole=True)
        self._label = _label_top(shapes, self.net.compiled.inputs)
        if self._label:
            self._source.check_labels(self.classes, None, self.blob)
        self.seconds = 0.0

    @property
    def has_labels(self) -> bool:
        """Whether it is known what the images are of."""
        return bool(self._label)

    def scores(self, kind: str = "raw", average: str = SOFTMAX, classes: tuple[str, ...] = ()) -> Scores:
        """The scores of every record once, in the order of the set: what goes into the net's softmax ("raw"), or what
        comes out of it ("softmax"). Over the windows of an image either is averaged, as `average` says; the logarithm
        of a mean softmax is its raw score. `classes` are the names of the classes, by which the labels of another set
        become the net's; DataError where that is not possible."""
        if average not in AVERAGES:
            raise ValueError(f'average "{average}" is none of {", ".join(AVERAGES)}')
        numbers = self._numbers(classes) if self._label else np.empty(0, np.int64)
        started = time.perf_counter()
        rows, labels = zip(*self._batches(average), strict=True)
        raw = torch.cat(rows)
        values: NDArray[np.float32] = (raw.softmax(1) if kind == "softmax" else raw).cpu().numpy()
        self.seconds = time.perf_counter() - started
        keys = tuple(self._source.keys())
        right = numbers[torch.cat(labels).cpu().numpy().astype(np.int64)] if self._label else None
        return Scores(values, keys, right, classes, kind, self._text.document.path, _checksum(self.net))

    @torch.no_grad()
    def _batches(self, average: str) -> Iterator[tuple[Tensor, Tensor]]:
        """The scores (N, C) and the labels (N,) of each batch."""
        inputs = self.net.compiled.inputs
        with tqdm(total=self._source.epoch_size, unit="image", disable=None) as progress:
            for tensors in self._source.once():
                tops = dict(zip(self._node.tops, tensors, strict=True))
                given = {name: tops[name].reshape(-1, *self.net.blob_shapes[name][1:]) for name in inputs}
                out = self.net(blobs=(self.blob,), **given)[self.blob]
                windows = out.reshape(-1, len(self._crops), self.classes)
                progress.update(len(windows))
                yield averaged(windows, average), tops[self._label].flatten() if self._label else tensors[0][:0]

    def _numbers(self, classes: tuple[str, ...]) -> NDArray[np.int64]:
        """What each label (C,) means of the net's classes."""
        numbers = np.arange(self.classes)
        if classes and self._set and (own := lines_at(self._set)[: self.classes]):
            numbers[: len(own)] = class_numbers(own, classes, str(self._set))
        return numbers

    def names(self, path: str | Path | None = None) -> tuple[str, ...]:
        """The names of the classes in a file, else those that lie with the net's own data, else with the set that is
        scored; none where they are not known. DataError where the file has more than there are classes."""
        if path is not None:
            return read_names(Path(path), self.classes)
        layers = [*self._text.data_layers, self._node.param]
        return known_names(layers, self._text.document.find, self.classes)

    def close(self) -> None:
        """End the background work of the data."""
        self._source.close()


def _checksum(net: Net) -> str:
    """A number that tells weights apart, the same for all files that they are read from."""
    digest = hashlib.sha256()
    for blob in net.params:
        digest.update(blob.tensor.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()[:16]


def averaged(windows: Tensor, average: str) -> Tensor:
    """The scores (N, C) of images from those of their windows (N, K, C): their mean, or the logarithm of the mean of
    their softmax. Those of one window stay as they are."""
    if windows.shape[1] == 1:
        return windows[:, 0]
    if average == SCORES:
        return windows.mean(1)
    return windows.log_softmax(2).logsumexp(1) - math.log(windows.shape[1])


def _raw_scores(net: Net, blob: str) -> str:
    """The blob of the scores: what a softmax reads, else the output itself."""
    graph = net.graph
    makers = {top: node for node in graph.nodes for top in node.tops}
    outputs = [name for name in graph.outputs if makers[name].param.type != "Input"]
    if blob and blob not in makers:
        raise graph.document.error(f'the net has no blob "{blob}"; its outputs are {", ".join(outputs)}')
    ending = [name for name in outputs if makers[name].param.type == "Softmax"]
    if not blob and len(outputs) != 1 and len(ending) != 1:
        names = ", ".join(outputs)
        raise graph.document.error(f"which of these outputs are the scores is not known: {names}; name one (--blob)")
    chosen = blob or next(iter(ending or outputs))
    maker = makers[chosen]
    while maker.param.type in _PASSING:
        maker = makers[maker.bottoms[0]]
    if maker.param.type != "Softmax":
        return chosen
    if maker.bottoms == maker.tops:
        reason = f'its scores cannot be told from their softmax, which has their name "{chosen}": rename its top'
        raise graph.document.error(reason, *maker.where)
    return maker.bottoms[0]


def _classes(net: Net, blob: str, images: int) -> int:
    """How many classes a blob scores."""
    shape = net.blob_shapes[blob]
    if len(shape) < _ROW or shape[0] != images or shape[1] == 1 or math.prod(shape[_ROW:]) != 1:
        reason = f'"{blob}" has the shape {shape} for {images} images, where scores are {images} rows of classes'
        raise net.graph.document.error(reason)
    return shape[1]


def _label_top(shapes: dict[str, tuple[int, ...]], inputs: Sequence[str]) -> str:
    """The first top with one number an image that the net does not read."""
    unread = (name for name, shape in shapes.items() if name not in inputs and math.prod(shape[1:]) == 1)
    return next(unread, "")
