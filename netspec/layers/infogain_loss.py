"""InfogainLoss: the log loss in which a matrix says what each class is worth for each label."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from google.protobuf.message import DecodeError
from torch import Tensor

from netspec.layers.base import LayerError, Shape, layer
from netspec.layers.labels import class_axis, class_numbers
from netspec.layers.loss import LOG_THRESHOLD, NormalizedLoss, check_items, clamp
from netspec.schema.netspec_pb2 import BlobProto, LayerParameter

PATH = "infogain_loss_param"


@layer("InfogainLoss", bottoms=(2, 3), tops=(1, 2))
class InfogainLoss(NormalizedLoss):
    """-sum_l H[label, l] log max(p_l, 1e-20), summed over the items, / Z, p the softmax; a second top is all p.

    Bottoms: scores with the L classes on `axis` (default 1), a label for every place on the other axes, and the matrix
    H (L * L values in any shape; no gradient); without the third H is the file `source`, a binary BlobProto. With the
    identity as H it is SoftmaxWithLoss. Z and `ignore_label` are as there, but `normalize` is refused. The gradient is
    that without the floor; the second top passes none. Caffe before 2017 took probabilities instead of scores.
    Unlike in PyTorch's cross_entropy with a weight, Z does not know H.
    """

    matrix: Tensor

    def __init__(self, param: LayerParameter, bottoms: Sequence[Shape]) -> None:
        super().__init__(param, bottoms)
        infogain = param.infogain_loss_param
        if param.loss_param.HasField("normalize"):
            raise LayerError("InfogainLoss takes no normalize: give normalization", "loss_param", "normalize")
        self.axis = class_axis(infogain.axis, bottoms[:2], PATH, "axis")
        check_items(bottoms)
        self.classes = bottoms[0][self.axis]
        self.probabilities = len(param.top) > 1
        self.source = infogain.source
        self.matrix_is_bottom = len(bottoms) > 2
        if self.matrix_is_bottom:
            self._check_matrix(math.prod(bottoms[2]), "bottom 2", "bottom")
        elif not infogain.HasField("source"):
            raise LayerError("the matrix is missing: give a third bottom or a source", PATH)

    def open_files(self, find: Callable[[str], Path]) -> None:
        if not self.matrix_is_bottom:
            values = _read_values(find(self.source))
            self._check_matrix(values.numel(), f'"{self.source}"', PATH, "source")
            self.register_buffer("matrix", values, persistent=False)

    def _check_matrix(self, count: int, place: str, *field: str) -> None:
        if count != self.classes**2:
            raise LayerError(f"{place} has {count} values; {self.classes} classes need {self.classes**2}", *field)

    def forward(self, scores: Tensor, labels: Tensor, matrix: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        matrix = self.matrix.to(scores.device) if matrix is None else matrix.detach()
        numbers = class_numbers(labels, scores, self.axis, self.name, self.ignore_label)
        ignored = numbers == self.ignore_label
        matrix = matrix.reshape(self.classes, self.classes)
        worth = F.embedding(numbers.masked_fill(ignored, 0), matrix).movedim(-1, self.axis)
        logs = clamp(F.log_softmax(scores, self.axis), least=math.log(LOG_THRESHOLD))
        losses = -(worth * logs).sum(self.axis).masked_fill(ignored, 0)
        loss = self.normalized(losses, numbers, math.prod(scores.shape[: self.axis]))
        return (loss, F.softmax(scores.detach(), self.axis)) if self.probabilities else loss


def _read_values(path: Path) -> Tensor:
    """The numbers of a file that holds one BlobProto; LayerError where it does not."""
    try:
        blob = BlobProto.FromString(path.read_bytes())
    except OSError as error:
        raise LayerError(f"{path}: the matrix cannot be read: {error.strerror}", PATH, "source") from None
    except DecodeError:
        raise LayerError(f"{path} is no matrix file: it does not parse as a BlobProto", PATH, "source") from None
    return torch.from_numpy(np.array(blob.data or blob.double_data, np.float32))
