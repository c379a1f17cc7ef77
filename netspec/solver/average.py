"""A moving average of the weights, which often tests better than the weights themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from netspec.blobs import Param


class Average:
    """average = decay average + (1 - decay) blob after every update, for all blobs of a net, statistics included
    (Polyak and Juditsky 1992; as torch.optim.swa_utils.get_ema_multi_avg_fn). It begins with the blobs as they are."""

    def __init__(self, params: Sequence[Param], decay: float) -> None:
        self._blobs = [param.tensor for param in params]
        self._decay = decay
        self.values = [blob.detach().clone() for blob in self._blobs]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the blobs of one more iteration."""
        torch._foreach_lerp_(self.values, self._blobs, 1 - self._decay)

    @torch.no_grad()
    def take(self) -> None:
        """Begin anew with the blobs as they are."""
        torch._foreach_copy_(self.values, self._blobs)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside the block the net computes with the averages; the blobs are then what they were, to the bit."""
        kept = [blob.detach().clone() for blob in self._blobs]
        with torch.no_grad():
            torch._foreach_copy_(self._blobs, self.values)
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(self._blobs, kept)
