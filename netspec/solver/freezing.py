"""Layers that do not learn, at first or at all: fine-tuning layer by layer."""

from __future__ import annotations

from fnmatch import fnmatchcase

from netspec.loading import some
from netspec.log import logger
from netspec.net import Net
from netspec.schema.netspec_pb2 import SolverParameter
from netspec.solver.updates import Update
from netspec.spec import Document

_NEVER = 2**31


class Freezing:
    """The layers that the solver's `freeze` names, and the iteration in which each begins to learn: the latest that is
    said of it. SpecError where a name fits no layer that has blobs."""

    def __init__(self, document: Document[SolverParameter], solver: SolverParameter, net: Net) -> None:
        layers = [param.layer for param in net.params]
        self._params = [param for param in net.params if param.lr_mult]
        self._begins: dict[str, int] = {}
        for index, rule in enumerate(solver.freeze):
            if not rule.layer:
                raise document.error("freeze names no layer", "freeze", index)
            if rule.until < 0:
                raise document.error(f"until must be at least 0, not {rule.until}", "freeze", index, "until")
            for number, name in enumerate(rule.layer):
                found = [layer for layer in layers if fnmatchcase(layer, name)]
                if not found:
                    reason = f'freeze: the train net has no layer "{name}" with blobs'
                    raise document.error(reason, "freeze", index, "layer", number, wrong=name, known=layers)
                until = rule.until if rule.HasField("until") else _NEVER
                self._begins |= {layer: max(until, self._begins.get(layer, 0)) for layer in found}
        first = min((self._begins.get(param.layer, 0) for param in self._params), default=0)
        if first:
            reason = (
                f"freeze: no layer learns before iteration {first}" if first < _NEVER else "freeze: no layer learns"
            )
            raise document.error(reason, "freeze")
        self._shown: set[str] | None = None

    def take(self, iteration: int, update: Update) -> None:
        """Let learn what learns in an iteration, and nothing else; log what has changed."""
        frozen = {layer for layer, begin in self._begins.items() if iteration < begin}
        if frozen == self._shown:
            return
        before, self._shown = self._shown or set(), frozen
        for param in self._params:
            param.tensor.requires_grad_(param.layer not in frozen)
        update.regroup(self._begins)
        if frozen:
            logger.info("Iteration %d, frozen: %s", iteration, some(sorted(frozen)))
        if thawed := sorted(before - frozen):
            logger.info("Iteration %d, learning from here on: %s", iteration, some(thawed))
