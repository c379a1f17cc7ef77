"""What `debug_info` shows of a pass: Caffe's lines with the mean magnitude of every blob and of every gradient."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Variable

from netspec.blobs import Param
from netspec.compiler import BuiltLayer, Compiled
from netspec.log import logger


@contextmanager
def shown(compiled: Compiled, params: Sequence[Param], inputs: Mapping[str, Tensor]) -> Iterator[None]:
    """Log the forward pass inside, layer by layer, and the backward pass through it once that has ended, from the last
    layer to the first.

    Two things differ from Caffe's log: the Split layers that Caffe inserts are not there, and a param that several
    layers share has the sum of their gradients in the lines of each. As in the last Caffe, there are no [Update] lines.
    Every number is read from the device: a pass that is shown is slow.
    """
    current = _Pass(compiled, params, inputs)
    handles = [handle for layer in compiled.layers for handle in current.hooks(layer)]
    try:
        yield
        current.show_inputs()
    finally:
        for handle in handles:
            handle.remove()


class _Pass:
    """One forward pass and the backward pass through it."""

    def __init__(self, compiled: Compiled, params: Sequence[Param], inputs: Mapping[str, Tensor]) -> None:
        self._layers = compiled.layers
        self._params = params
        self._inputs = inputs
        built = {layer.node.where for layer in compiled.layers}
        self._input_nodes = [node for node in compiled.graph.nodes if node.where not in built]
        self._reached: set[str] = set()
        self._diffs: dict[tuple[str, int], float] = {}
        self._queued = False

    # --- forward ------------------------------------------------------------------------------------------------

    def hooks(self, layer: BuiltLayer) -> Iterator[Any]:
        """Hook a layer for one pass; each hook has a handle that removes it."""
        yield layer.module.register_forward_pre_hook(partial(self._before, layer))
        yield layer.module.register_forward_hook(partial(self._after, layer))

    def show_inputs(self, *before: str | int) -> None:
        """The lines of the layers that make inputs and stand before a place in the text, by default of all left."""
        while self._input_nodes and (not before or self._input_nodes[0].where < before):
            node = self._input_nodes.pop(0)
            for top in (top for top in node.tops if top in self._inputs):
                _info("[Forward] Layer %s, top blob %s data: %.6g", node.name, top, mean_magnitude(self._inputs[top]))

    def _before(self, layer: BuiltLayer, module: object, bottoms: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Give a layer copies of its bottoms, so that each has the gradient of this layer alone."""
        self.show_inputs(*layer.node.where)
        return tuple(self._watched(layer, index, bottom) for index, bottom in enumerate(bottoms))

    def _watched(self, layer: BuiltLayer, index: int, bottom: Tensor) -> Tensor:
        if not (bottom.requires_grad and torch.is_grad_enabled()):
            return bottom
        copy = bottom.clone()
        copy.register_hook(partial(self._take_diff, layer.key, index))  # type: ignore[no-untyped-call]
        return copy

    def _after(self, layer: BuiltLayer, module: object, bottoms: object, result: Tensor | tuple[Tensor, ...]) -> None:
        tops = (result,) if isinstance(result, Tensor) else result
        name = layer.node.name
        for top, tensor in zip(layer.node.tops, tops, strict=True):
            _info("[Forward] Layer %s, top blob %s data: %.6g", name, top, mean_magnitude(tensor))
            if tensor.requires_grad:
                tensor.register_hook(partial(self._reach, layer.key))  # type: ignore[no-untyped-call]
        for index, blob in enumerate(layer.module.blobs()):
            specs = layer.node.param.param
            shown_name = (specs[index].name if index < len(specs) else "") or str(index)
            _info("[Forward] Layer %s, param blob %s data: %.6g", name, shown_name, mean_magnitude(blob))

    # --- backward -----------------------------------------------------------------------------------------------

    def _reach(self, key: str, grad: Tensor) -> None:
        self._reached.add(key)
        if not self._queued:
            self._queued = True
            Variable._execution_engine.queue_callback(self._show_backward)

    def _take_diff(self, key: str, index: int, grad: Tensor) -> None:
        self._diffs[key, index] = mean_magnitude(grad)

    def _show_backward(self) -> None:
        """All lines of the backward pass, in Caffe's order."""
        for layer in reversed(self._layers):
            if layer.key in self._reached:
                self._show_diffs(layer)
        data = [param.tensor.detach() for param in self._params]
        diffs = [param.tensor.grad for param in self._params if param.tensor.grad is not None]
        norms = (_norm(data, 1), _norm(diffs, 1), _norm(data, 2), _norm(diffs, 2))
        reason = "    [Backward] All net params (data, diff): L1 norm = (%.6g, %.6g); L2 norm = (%.6g, %.6g)"
        logger.error(reason, *norms)  # the level that Caffe gives this line
        self._reached.clear()
        self._diffs.clear()
        self._queued = False

    def _show_diffs(self, layer: BuiltLayer) -> None:
        for index, bottom in enumerate(layer.node.bottoms):
            if (layer.key, index) in self._diffs:
                diff = self._diffs[layer.key, index]
                _info("[Backward] Layer %s, bottom blob %s diff: %.6g", layer.node.name, bottom, diff)
        for index, blob in enumerate(layer.module.blobs()):
            if blob.requires_grad:
                diff = 0.0 if blob.grad is None else mean_magnitude(blob.grad)
                _info("[Backward] Layer %s, param blob %d diff: %.6g", layer.node.name, index, diff)


def mean_magnitude(tensor: Tensor) -> float:
    """The mean of all |x|; NaN where there are none."""
    return float(tensor.detach().abs().sum(dtype=torch.float64)) / tensor.numel() if tensor.numel() else math.nan


def _norm(tensors: Sequence[Tensor], order: int) -> float:
    """The L1 or L2 norm of all values together."""
    norms = [torch.linalg.vector_norm(tensor, order, dtype=torch.float64) for tensor in tensors]
    return float(torch.linalg.vector_norm(torch.stack(norms), order)) if norms else 0.0


def _info(line: str, *values: object) -> None:
    logger.info("    " + line, *values)
