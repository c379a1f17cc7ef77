"""The HDF5Data layer: rows of datasets, taken as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from netspec.data.batches import TensorBatches, Tops
from netspec.data.feed import Feed
from netspec.data.labels import LabelRule
from netspec.data.list_file import read_lines
from netspec.data.order import Indices, in_epochs, permutation
from netspec.errors import DataError
from netspec.layers.base import LayerError, Shape
from netspec.layers.sources import SourceContext, source
from netspec.schema.netspec_pb2 import LayerParameter

_FIELD = "hdf5_data_param"
_FILES, _ROWS = 5, 6  # which draw an order is

Rows = tuple[NDArray[np.float32], ...]
_Result = TypeVar("_Result")


class Hdf5File:
    """The datasets of some names in an HDF5 file: `rows` of them each, of the shapes `row_shapes`. DataError where
    they are not so."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self.path, self._names = path, names
        shapes = self._with_datasets(lambda datasets: [dataset.shape for dataset in datasets])
        self.rows: int = shapes[0][0]
        self.row_shapes: list[Shape] = [shape[1:] for shape in shapes]
        for name, shape in zip(names, shapes, strict=True):
            if shape[0] != self.rows:
                raise DataError(f'{path}: the dataset "{name}" has {shape[0]} rows, "{names[0]}" has {self.rows}')

    def read(self) -> Rows:
        """All rows of every dataset."""
        return self._with_datasets(lambda datasets: tuple(dataset.astype(np.float32)[...] for dataset in datasets))

    def _with_datasets(self, work: Callable[[list[h5py.Dataset]], _Result]) -> _Result:
        try:
            with h5py.File(self.path, "r") as file:
                return work([self._dataset(file, name) for name in self._names])
        except DataError:
            raise
        except Exception as error:  # h5py raises errors of many kinds on damaged files
            raise DataError(f"{self.path} cannot be read as HDF5: {error}") from None

    def _dataset(self, file: h5py.File, name: str) -> h5py.Dataset:
        dataset = file.get(name)
        if not isinstance(dataset, h5py.Dataset):
            raise DataError(f'{self.path} has no dataset "{name}"; it has {", ".join(sorted(file)) or "none"}')
        if dataset.dtype.kind not in "biuf" or not dataset.shape or not dataset.size:
            kind = f"{dataset.dtype} of the shape {dataset.shape}"
            raise DataError(f'{self.path}: the dataset "{name}" must hold rows of numbers, not {kind}')
        return dataset


class Hdf5Batches(TensorBatches):
    """Rows of files one after the other, as if they were one. One file at a time is kept in memory."""

    def __init__(self, files: Sequence[Hdf5File], size: int, shuffle: bool, seed: int, device: torch.device) -> None:
        self._files, self._shuffle = files, shuffle
        self._rows = tuple(file.rows for file in files)
        self._starts = np.cumsum((0, *self._rows))
        self._rules: list[LabelRule] = []
        self._kept: tuple[int, Rows] | None = None
        super().__init__([(size, *shape) for shape in files[0].row_shapes], int(self._starts[-1]), seed, device)

    def choose(self, positions: Indices) -> Indices:
        if not self._shuffle:
            return positions % self.length
        return in_epochs(positions, self.length, lambda epoch: _shuffled(self._rows, self.seed, epoch))

    def load(self, chosen: Indices, positions: Indices) -> Tops:
        tops = [np.empty((len(chosen), *shape[1:]), np.float32) for shape in self.shapes]
        files = np.searchsorted(self._starts, chosen, "right") - 1
        for file in dict.fromkeys(files.tolist()):
            here = files == file
            for top, rows in zip(tops, self._read(file), strict=True):
                top[here] = rows[chosen[here] - self._starts[file]]
        return tuple(map(torch.from_numpy, tops))

    def check_labels(self, rule: LabelRule) -> None:
        """Labels are the second of two tops; they are checked when their file is read."""
        if len(self.shapes) == 2:
            self._rules.append(rule)

    def _read(self, file: int) -> Rows:
        kept = self._kept
        if kept is None or kept[0] != file:
            self._kept = kept = file, self._files[file].read()
            for rule in self._rules:
                rule.hold(kept[1][1], lambda row: f"{self._files[file].path}: row {row}")
        return kept[1]


@source("HDF5Data")
class HDF5Data(Feed):
    """Rows of the HDF5 files that the text file `source` names, one a line.

    Each top is the dataset of its name: (batch_size, ...) of its (rows, ...), as float32. Batches go on from file to
    file; `shuffle` draws a new order of files, and of rows in each, for every epoch. Nothing is transformed. Two
    tops are taken for data and labels where labels are checked.
    """

    def __init__(self, param: LayerParameter, context: SourceContext) -> None:
        _refuse(param)
        hdf5 = param.hdf5_data_param
        files = _open(context.find(hdf5.source), param.top, context.find)
        batches = Hdf5Batches(files, hdf5.batch_size, hdf5.shuffle, context.seed, context.device)
        watched = [context.find(hdf5.source), *(file.path for file in files)]
        super().__init__(batches, param.data_param.prefetch, context, watched)


def _refuse(param: LayerParameter) -> None:
    if not param.top:
        raise LayerError("an HDF5Data layer needs a top: the name of a dataset", "top")
    if not param.hdf5_data_param.source:
        raise LayerError("source is missing: a text file, one HDF5 file a line", _FIELD, "source")
    if not param.hdf5_data_param.batch_size:
        raise LayerError("batch_size is missing or 0", _FIELD, "batch_size")
    if param.HasField("transform_param"):
        raise LayerError("HDF5Data does not transform; store what the net shall see", "transform_param")


def _open(source: Path, names: Sequence[str], find: Callable[[str], Path]) -> list[Hdf5File]:
    """The files of a list, all with rows of the same shapes."""
    files = []
    for number, line in read_lines(source):
        try:
            files.append(Hdf5File(find(line), names))
        except LayerError as error:
            raise DataError(f"{source}: line {number}: {error.reason}") from None
        for name, shape, first in zip(names, files[-1].row_shapes, files[0].row_shapes, strict=True):
            if shape != first:
                raise DataError(
                    f'{files[-1].path}: a row of the dataset "{name}" is {shape}, in {files[0].path} it is {first}'
                )
    return files


@lru_cache(maxsize=4)
def _shuffled(sizes: tuple[int, ...], seed: int, epoch: int) -> Indices:
    """The rows of files of these sizes in an order that takes file after file."""
    starts = np.cumsum((0, *sizes))
    files = permutation(len(sizes), seed, epoch, _FILES).tolist()
    return np.concatenate([starts[file] + permutation(sizes[file], seed, epoch, _ROWS, file) for file in files])
