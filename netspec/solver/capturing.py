"""Which nets of a run are captured, and what keeps the others from it."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch

from netspec.compiler import BuiltLayer
from netspec.log import logger
from netspec.net import Net
from netspec.schema.netspec_pb2 import Capture, Precision, SolverParameter
from netspec.solver.average import Average
from netspec.solver.capture import CapturedIterations, CapturedNet, CapturedPasses, Replayed
from netspec.solver.passes import Passes
from netspec.solver.recorder import Recorder, recorder_of
from netspec.solver.updates import Update
from netspec.spec import Document

_TYPES = {
    "Python": "runs code of its own",
    "Filter": "has tops whose size depends on what they hold",
    "HDF5Output": "writes a file",
}
"""The layer types that cannot be captured, and why."""

_WORTH_RECORDING = 500
"""Iterations from which on passes are recorded on a CPU: that takes as long as some 100 save."""


class Capturing:
    """Captures what can be, where that is `wanted`: else, and with a line in the log for each net that cannot be, the
    nets run as they are. SpecError for such a net where the solver says ON."""

    def __init__(self, document: Document[SolverParameter], device: torch.device, wanted: bool) -> None:
        self._document, self._device, self._wanted = document, device, wanted
        self._made: list[Replayed[Any]] = []

    @cached_property
    def _recorder(self) -> Recorder:
        return recorder_of(self._device)

    def iterations(
        self, net: Net, update: Update, average: Average | None, passes: Passes
    ) -> CapturedIterations | None:
        """The iterations of a train net; None where they are not captured as a whole."""
        if not self._takes_all or not self._can(net):
            return None
        solver = self._document.message
        made = CapturedIterations(solver, net, update, average, passes, self._recorder, self._refuse)
        self._made.append(made)
        return made

    def passes(self, net: Net, passes: Passes, iterations: int) -> CapturedPasses | None:
        """The passes of a train net, for so many iterations; None where they are not captured, since its iterations
        are, the net cannot be, or a recording would take longer than it saves."""
        is_worth_it = iterations >= _WORTH_RECORDING or self._document.message.capture == Capture.ON
        if self._takes_all or not is_worth_it or not self._can(net):
            return None
        made = CapturedPasses(net, passes, self._recorder, self._refuse)
        self._made.append(made)
        return made

    def test_net(self, net: Net) -> Net | CapturedNet:
        """What to call in place of a test net; the net itself where it is not captured."""
        if not self._takes_all or not self._can(net):
            return net
        made = CapturedNet(net, self._recorder, self._refuse)
        self._made.append(made)
        return made

    def forget(self) -> None:
        """Capture all anew, since something has changed that no key tells of: forms, or what a snapshot brought."""
        for captured in self._made:
            captured.forget()

    @property
    def _takes_all(self) -> bool:
        return self._wanted and self._recorder.takes_all

    def _can(self, net: Net) -> bool:
        reason = reason_against(self._document.message, net) if self._wanted else ""
        if reason:
            self._refuse(reason)
        return self._wanted and not reason

    def _refuse(self, reason: str) -> None:
        if self._document.message.capture == Capture.ON:
            raise self._document.error(f"capture: ON does not work here: {reason}", "capture")
        logger.info("Not captured: %s", reason)


def reason_against(solver: SolverParameter, net: Net) -> str:
    """Why passes of a net of this run cannot be captured, or, of the train net, its iterations; nothing where they
    can."""
    if solver.debug_info:
        return "debug_info looks at every blob of a pass"
    if net.training and solver.snapshot_diff:
        return "snapshot_diff needs the gradients of the iteration before it"
    if net.training and net.precision == Precision.FP16:
        return "in FP16 every iteration waits to see whether its gradients overflow"
    reasons = ((layer.node.name, _reason_of(layer)) for layer in net.compiled.layers)
    return next((f'layer "{name}" {reason}' for name, reason in reasons if reason), "")


def _reason_of(layer: BuiltLayer) -> str:
    module, kind = layer.module, layer.node.param.type
    if kind in _TYPES:
        return _TYPES[kind]
    if module.carries_state:
        return "carries its states from one pass to the next; with expose_hidden it does not"
    return "has hooks" if module._forward_hooks or module._forward_pre_hooks else ""
