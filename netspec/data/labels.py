"""Labels and the rule that they are held against."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.errors import DataError

Label = float | NDArray[np.float64]
"""The label of one image, or its labels (K,)."""

Labels = NDArray[np.float64]
"""Those of N images: (N,) or (N, K). Holds every int32 label of a Datum, and the fractions that a list may give."""

_ABOUT = 0.05
"""How far from 1 the sum of shares may be that were rounded."""

_MOST_SHOWN = 8

_log = logging.getLogger("netspec")


@dataclass
class LabelRule:
    """Labels are from 0 to `classes` - 1, or `ignore`; `layer` is the name of the layer that they go into. With
    `shares` it takes several labels a record as the shares of the classes."""

    classes: int
    ignore: int | None
    layer: str
    shares: bool = False
    _has_warned: bool = field(default=False, init=False)

    def hold(self, labels: NDArray[Any], where: Callable[[int], str]) -> None:
        """DataError where one of the labels (N, ...) is outside; `where` names a record. As in Caffe a fraction counts
        as the whole number before it; the log warns of the first."""
        if self.shares and labels.ndim > 1:
            self._hold_shares(labels.reshape(len(labels), -1), where)
            return
        classes = np.trunc(labels)
        allowed = (classes >= 0) & (classes < self.classes)
        if self.ignore is not None:
            allowed |= classes == self.ignore
        wrong = np.argwhere(~allowed)
        if len(wrong):
            raise DataError(
                f"{where(int(wrong[0][0]))} has the label {labels[tuple(wrong[0])]:.10g}, but layer '{self.layer}' "
                f"knows 0 to {self.classes - 1} ({_records(wrong[:, 0])})"
            )
        self._warn_of_fractions(labels, np.argwhere(classes != labels), where)

    def _hold_shares(self, shares: NDArray[Any], where: Callable[[int], str]) -> None:
        """DataError where a record's shares are none; where it has those of many places, none may be below 0."""
        is_wrong = ~(shares >= 0).all(axis=1)
        if shares.shape[1] == self.classes:
            is_wrong |= ~(np.abs(shares.sum(axis=1) - 1) <= _ABOUT)
        wrong = np.flatnonzero(is_wrong)
        if len(wrong):
            first = shares[wrong[0]]
            shown = ", ".join(f"{share:g}" for share in first[:_MOST_SHOWN]) + ", ..." * (len(first) > _MOST_SHOWN)
            raise DataError(
                f"{where(int(wrong[0]))} has the labels {shown}, but layer '{self.layer}' takes several as shares of "
                f"its {self.classes} classes, 0 or more, with the sum 1 ({_records(wrong)})"
            )

    def _warn_of_fractions(self, labels: NDArray[Any], places: NDArray[Any], where: Callable[[int], str]) -> None:
        if len(places) and not self._has_warned:
            self._has_warned = True
            _log.warning(
                "%s has the label %.10g; to layer '%s' it is the class %d, as in Caffe (%s)",
                where(int(places[0][0])),
                labels[tuple(places[0])],
                self.layer,
                labels[tuple(places[0])],
                _records(places[:, 0]),
            )


def _records(places: NDArray[Any]) -> str:
    return f"{len(np.unique(places))} such records"
