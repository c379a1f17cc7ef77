"""What a run shows: Caffe's log lines, and on a terminal a progress bar with images/s and the time left."""

from __future__ import annotations

import logging
import math
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor
from tqdm import tqdm

from netspec.log import logger
from netspec.net import Net
from netspec.schema.netspec_pb2 import RunState


class Display:
    """Writes the lines of a run. Losses stay on the device until a line is due, so that no iteration waits for one."""

    def __init__(self, window: int, images_per_iteration: int) -> None:
        self._losses: deque[Tensor | float] = deque(maxlen=window)
        self._images = images_per_iteration
        self._since = (0, time.perf_counter())
        self._bar: tqdm[Any] | None = None

    @property
    def shown_losses(self) -> list[float]:
        """The window of losses that a display line averages."""
        return [float(loss) for loss in self._losses]

    def store(self, run: RunState) -> None:
        """Put the window into a snapshot."""
        run.shown_loss.extend(self.shown_losses)

    def restore(self, run: RunState) -> None:
        """Take up the window of a snapshot."""
        self._losses.clear()
        self._losses.extend(run.shown_loss)

    def start(self, iteration: int, last: int) -> None:
        """Begin or go on at an iteration, of a run that ends at `last`."""
        self._since = (iteration, time.perf_counter())
        self.close()
        if sys.stderr.isatty() and logger.isEnabledFor(logging.INFO):
            self._bar = tqdm(initial=iteration, total=last, unit="iter", dynamic_ncols=True, leave=False, smoothing=0.1)

    def add(self, loss: Tensor) -> None:
        """Take the loss of one iteration and move the bar."""
        self._losses.append(loss)
        if self._bar is not None:
            self._bar.update()
            rate = self._bar.format_dict["rate"]
            if rate:
                self._bar.set_postfix_str(f"{rate * self._images:,.0f} images/s", refresh=False)

    def smoothed_loss(self) -> float:
        """The mean of the window."""
        losses = self.shown_losses
        return sum(losses) / len(losses) if losses else math.nan

    def iteration(
        self, iteration: int, rate: float, outputs: Mapping[str, Tensor], weights: Mapping[str, float]
    ) -> dict[str, float]:
        """The lines of one displayed iteration: speed and loss, the train net's outputs, the rate. Returns its figures
        by the heads of their columns in a log."""
        begun, since = self._since
        count, seconds = iteration - begun, time.perf_counter() - since
        self._since = (iteration, time.perf_counter())
        speed = f"{count / seconds:.6g} iter/s, {seconds:.6g}s/{count} iters" if count else "0 iter/s, 0s/0 iters"
        loss = self.smoothed_loss()
        logger.info("Iteration %d (%s), loss = %.6g", iteration, speed, loss)
        values = {name: tensor.detach().flatten().tolist() for name, tensor in outputs.items()}
        log_outputs("Train", values, weights)
        logger.info("Iteration %d, lr = %.6g", iteration, rate)
        return {"lr": rate, "loss": loss, **columns("train", values)}

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def columns(kind: str, outputs: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Outputs by the heads of their columns: "test accuracy"; of an output with several numbers "test recall[0]"."""
    return {
        f"{kind} {name}" + f"[{index}]" * (len(values) > 1): value
        for name, values in outputs.items()
        for index, value in enumerate(values)
    }


def batch_of(net: Net) -> int:
    """How many images a pass of a net takes: the first axis of its first blob."""
    first = next(iter(net.blob_shapes.values()), ())
    return first[0] if first else 1


def log_outputs(kind: str, outputs: Mapping[str, list[float]], weights: Mapping[str, float]) -> None:
    """``Test net output #0: accuracy = 0.42``: one line for every number of every output."""
    number = 0
    for name, values in outputs.items():
        for value in values:
            weight = weights.get(name, 0.0)
            share = f" (* {weight:g} = {weight * value:.6g} loss)" if weight else ""
            logger.info("    %s net output #%d: %s = %.6g%s", kind, number, name, value, share)
            number += 1
