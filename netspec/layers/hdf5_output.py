"""The layer that writes blobs into a file: HDF5Output."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import h5py
from torch import Tensor

from netspec.errors import DataError
from netspec.layers.base import Layer, LayerError, Shape, layer
from netspec.layers.user_code import leave_to_python
from netspec.schema.netspec_pb2 import LayerParameter


@layer("HDF5Output", bottoms=2, tops=0)
class HDF5Output(Layer):
    """Writes its bottoms into the HDF5 file `file_name`: the datasets "data" and "label".

    Bottoms: (N, ...) both. As in Caffe a dataset has at least four axes, those that a bottom lacks of size 1. The first
    pass starts the file anew; every further one appends its N rows, where Caffe can write a single batch only. Passes
    that ask for some blobs of a net alone write nothing. PyTorch has no such layer.
    """

    has_effect = True

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        if not param.hdf5_output_param.file_name:
            raise LayerError("file_name is missing: the file to write", "hdf5_output_param", "file_name")
        if bottoms[0][:1] != bottoms[1][:1] or not bottoms[0]:
            raise LayerError(f"bottoms {bottoms[0]} and {bottoms[1]} differ in their first axis", "bottom")
        self.path = Path(param.hdf5_output_param.file_name)
        leave_to_python(HDF5Output, "_write")
        self._begun = False

    def forward(self, data: Tensor, label: Tensor) -> None:
        if not data.is_meta:
            self._write(data, label)

    def _write(self, data: Tensor, label: Tensor) -> None:
        try:
            with h5py.File(self.path, "a" if self._begun else "w") as file:
                _append(file, "data", data)
                _append(file, "label", label)
        except OSError as error:
            raise DataError(f"{self.path} cannot be written: {error}") from None
        self._begun = True


def _append(file: h5py.File, name: str, blob: Tensor) -> None:
    """Put the rows of a blob behind those that a dataset has."""
    rows = blob.detach().float().cpu().numpy()
    rows = rows.reshape(rows.shape + (1,) * (4 - rows.ndim))
    if name not in file:
        file.create_dataset(name, data=rows, maxshape=(None, *rows.shape[1:]))
        return
    dataset = file[name]
    dataset.resize(len(dataset) + len(rows), 0)
    dataset[-len(rows) :] = rows
