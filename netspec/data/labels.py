"""Labels and the rule that they are held against."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.errors import DataError

Label = float | NDArray[np.float64]
"""The label of one image, or its labels (K,)."""

Labels = NDArray[np.float64]
"""Those of N images: (N,) or (N, K). Holds every int32 label of a Datum, and the fractions that a list may give."""


@dataclass(frozen=True)
class LabelRule:
    """Labels are from 0 to `classes` - 1, or `ignore`; `layer` is the name of the layer that they go into."""

    classes: int
    ignore: int | None
    layer: str

    def hold(self, labels: NDArray[Any], where: Callable[[int], str]) -> None:
        """DataError where one of the labels (N, ...) is outside; `where` names a record. As in Caffe a fraction counts
        as the whole number before it."""
        classes = np.trunc(labels)
        allowed = (classes >= 0) & (classes < self.classes)
        if self.ignore is not None:
            allowed |= classes == self.ignore
        wrong = np.argwhere(~allowed)
        if len(wrong):
            raise DataError(
                f"{where(int(wrong[0][0]))} has the label {labels[tuple(wrong[0])]:.10g}, but layer '{self.layer}' "
                f"knows 0 to {self.classes - 1} ({len(np.unique(wrong[:, 0]))} such records)"
            )
