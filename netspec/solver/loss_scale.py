"""Scaling of the loss, so that gradients fit into FP16."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from netspec.errors import DivergedError
from netspec.log import logger
from netspec.schema.netspec_pb2 import RunState

FIRST = 2.0**16
"""The scale that a run begins with."""

GROWTH_INTERVAL = 2000
"""Iterations in a row whose gradients are finite, after which the scale doubles."""

LEAST = 2.0**-24
"""Below this no scale helps: gradients overflow that the smallest one would have made 0."""


class LossScale:
    """Multiplies the loss, and divides the gradients by the same number. Where one is not finite the iteration has no
    update and the scale halves; after `GROWTH_INTERVAL` good iterations it doubles (torch.amp.GradScaler's rule)."""

    def __init__(self, device: torch.device) -> None:
        self._scale = torch.full((), FIRST, device=device)
        self._good = torch.zeros((), dtype=torch.int32, device=device)
        self.skipped = 0

    @property
    def scale(self) -> float:
        """The number for the next iteration; waits for the device."""
        return self._scale.item()

    def scaled(self, loss: Tensor) -> Tensor:
        """The loss to go backward from."""
        return loss * self._scale

    @torch.no_grad()
    def unscale(self, gradients: Sequence[Tensor]) -> bool:
        """Bring the gradients of an iteration to their size, and the scale to that of the next. Whether all of them
        are finite: if not, they are of no use. Waits for the device. DivergedError where no scale helps."""
        overflows = torch.zeros((), device=self._scale.device)
        torch._amp_foreach_non_finite_check_and_unscale_(list(gradients), overflows, self._scale.reciprocal())
        torch._amp_update_scale_(self._scale, self._good, overflows, 2.0, 0.5, GROWTH_INTERVAL)
        if not overflows.item():
            return True
        self.skipped += 1
        self._report()
        return False

    def _report(self) -> None:
        """Log the first skipped update, the second, the fourth, the eighth and so on."""
        scale = self.scale
        if scale < LEAST:
            raise DivergedError(f"gradients are not finite in FP16 even with a loss scale of {2 * scale:g}")
        if self.skipped & (self.skipped - 1) == 0:
            reason = "gradients overflow FP16: no update in this iteration, and a loss scale of %g (skipped so far: %d)"
            logger.info(reason, scale, self.skipped)

    def store(self, run: RunState) -> None:
        """Put the scale, and how long it has been good, into a snapshot."""
        run.loss_scale.scale, run.loss_scale.good = self.scale, int(self._good)

    def restore(self, run: RunState) -> None:
        """Take them up; a snapshot of a run in another precision has none."""
        if run.HasField("loss_scale"):
            self._scale.fill_(run.loss_scale.scale)
            self._good.fill_(run.loss_scale.good)
