"""Where decoded images lie from which batches are made, as DataParameter.residence says."""

from __future__ import annotations

import logging
from pathlib import Path
from threading import Lock

import torch
from torch import Tensor

from netspec.data.labels import Labels
from netspec.data.order import Indices
from netspec.data.records import Records
from netspec.errors import DataError
from netspec.layers.base import LayerError
from netspec.schema.netspec_pb2 import DataParameter, ImageDataParameter, Residence

_PART = 4096
_IN_A_LAYER = {
    Residence.AUTO: DataParameter.AUTO_RESIDENCE,
    Residence.DEVICE: DataParameter.DEVICE,
    Residence.HOST: DataParameter.HOST,
}
"""What a layer says for the same, in an enum of its own."""

_MEMORY = Path("/proc/meminfo")

_log = logging.getLogger("netspec")


class Resident:
    """The images of a set as one tensor on a device, brought there when its first batch is made.

    With `insisting` a set that cannot be there is a DataError; else it stays in the machine's memory, which it also
    does where it takes more than a quarter of what is free.
    """

    def __init__(self, records: Records, device: torch.device, insisting: bool) -> None:
        self._records, self._device, self._insisting = records, device, insisting
        self._lock, self._looked = Lock(), False
        self._images: Tensor | None = None

    def labels(self, chosen: Indices) -> Labels | None:
        """The labels of some records; None where the images are not on the device."""
        with self._lock:
            if not self._looked:
                self._images = self._brought()
                self._looked = True
        kept = self._records.kept()
        return None if self._images is None or kept is None else kept[1][chosen]

    def images(self, chosen: Tensor) -> Tensor:
        """The images (N, C, H, W) of some records (N,), of which `labels` gave the labels."""
        assert self._images is not None, "they are not on the device"
        return self._images.index_select(0, chosen)

    def _brought(self) -> Tensor | None:
        kept = self._records.kept()
        if kept is None:
            if self._insisting:
                raise DataError(f"{self._records.store.path}: residence: DEVICE needs decoded images of one size, kept")
            _log.info("%s: residence HOST: its decoded images are not kept", self._records.store.path)
            return None
        if not self._insisting and not self._is_small(kept[0].nbytes):
            return None
        if problem := _too_large(self._records, self._device):
            raise DataError(problem)
        first = torch.from_numpy(kept[0][:0].copy())
        whole = torch.empty(kept[0].shape, dtype=first.dtype, device=self._device)
        for start in range(0, len(whole), _PART):  # copies, as a file that is only read must not be shared with torch
            whole[start : start + _PART] = torch.from_numpy(kept[0][start : start + _PART].copy())
        return whole

    def _is_small(self, size: int) -> bool:
        """Whether images of so many bytes take at most a quarter of what is free on the device; the log says it."""
        free = free_bytes(self._device) or 0
        is_small = size <= free // 4
        where, why = ("DEVICE", "at most") if is_small else ("HOST", "more than")
        text = "%s: residence %s: %d bytes of decoded images are %s a quarter of the %d free on %s"
        _log.info(text, self._records.store.path, where, size, why, free, self._device)
        return is_small


def resident(
    records: Records,
    settings: DataParameter | ImageDataParameter,
    device: torch.device,
    field: str,
    otherwise: Residence.Kind = Residence.AUTO,
) -> Resident | None:
    """The set on the device, where the message, whose `field` the settings are, wants it there, or `otherwise` where it
    says nothing; None: batches are made in the machine's memory, where a set lies that is wanted on a CPU. LayerError
    where it does not fit."""
    where = _IN_A_LAYER[otherwise] if settings.residence == DataParameter.AUTO_RESIDENCE else settings.residence
    if where == DataParameter.HOST or (where == DataParameter.AUTO_RESIDENCE and device.type != "cuda"):
        return None
    if where == DataParameter.DEVICE:
        if settings.cache == DataParameter.OFF:
            raise LayerError("residence: DEVICE keeps decoded images, cache: OFF does not", field, "residence")
        if problem := _too_large(records, device):
            raise LayerError(problem, field, "residence")
        if device.type == "cpu":
            records.hold_in_memory()
            return None
    return Resident(records, device, where == DataParameter.DEVICE)


def free_bytes(device: torch.device) -> int | None:
    """How much memory is free on a device; None where that is not known."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type == "cpu" and _MEMORY.exists():
        lines = dict(line.split(":", 1) for line in _MEMORY.read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) << 10
    return None


def _too_large(records: Records, device: torch.device) -> str | None:
    free = free_bytes(device)
    if free is None or records.nbytes <= free:
        return None
    return f"{records.nbytes} bytes of decoded images do not fit on {device}, where {free} are free; residence: HOST"
