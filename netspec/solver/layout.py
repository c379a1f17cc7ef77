"""Which memory format a net is faster in, by a short measurement, and its weights in that format."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn.utils import parametrize

from netspec.forms.choice import remembered
from netspec.layers.convolution import HEAVY_WEIGHT, Convolution
from netspec.machine_memory import digest
from netspec.net import Net
from netspec.noise import made_inputs
from netspec.precision import is_16_bit
from netspec.spec import to_text

FORMATS = {"CHANNELS_LAST": torch.channels_last, "CONTIGUOUS": torch.contiguous_format}

_ROUNDS = 3
_WORTH = 0.97
"""What is not channels last must take less than this share of the time."""


def faster_format(net: Net) -> str:
    """The name of the memory format in which a train net's passes take less time, measured once on a machine; channels
    last where a net has inputs other than images (N, C, H, W) and labels (N,), or keeps a state of its own from pass
    to pass."""
    shapes = [net.blob_shapes[name] for name in net.compiled.inputs]
    layers = [layer.module for layer in net.compiled.layers]
    if not all(len(shape) in (1, 4) for shape in shapes):
        return "CHANNELS_LAST"
    if any(layer.has_effect or layer.carries_state for layer in layers):
        return "CHANNELS_LAST"
    key = digest(f"{to_text(net.graph.document.message)} {shapes} {net.precision} {net.graph.state}")
    seconds = remembered(net.device, key, lambda: _measure(net))
    is_contiguous = seconds["CONTIGUOUS"] < _WORTH * seconds["CHANNELS_LAST"]
    return "CONTIGUOUS" if is_contiguous else "CHANNELS_LAST"


def lay_out_weights(net: Net, history: Sequence[Tensor] = ()) -> None:
    """Put the weights of a net's convolutions into its memory format, and with each its blobs of an update's history:
    a pass need not do it then. The tensors stay the same objects. In 32 bits heavy weights are contiguous: oneDNN is
    slower over small maps where they are channels last."""
    convolved = {id(weight) for weight in _weights(net)}
    for index, param in enumerate(net.params):
        if id(param.tensor) in convolved:
            is_heavy = not is_16_bit(net.precision) and param.tensor.numel() >= HEAVY_WEIGHT
            memory_format = torch.contiguous_format if is_heavy else net.memory_format
            for blob in (param.tensor, *history[index :: len(net.params)]):
                blob.data = blob.data.contiguous(memory_format=memory_format)


def _weights(net: Net) -> Iterator[Tensor]:
    """The weights (O, I, height, width) of convolutions that no other layer has in another shape."""
    layers = [layer.module for layer in net.compiled.layers]
    shared = {id(blob) for layer in layers if parametrize.is_parametrized(layer) for blob in layer.parameters()}
    for layer in layers:
        if isinstance(layer, Convolution) and layer.weight.dim() == 4 and id(layer.weight) not in shared:
            yield layer.weight


def _measure(net: Net) -> dict[str, float]:
    """The least seconds of a forward and backward pass in each format; blobs and random state are put back."""
    kept = [blob.detach().clone() for blobs in net.layer_params.values() for blob in blobs]
    before, net.memory_format = net.memory_format, torch.contiguous_format  # in which data layers hand out images
    with torch.random.fork_rng(devices=[]):
        inputs = made_inputs(net)
        rounds = [{name: _seconds(net, name, inputs) for name in FORMATS} for _ in range(1 + _ROUNDS)]
    net.memory_format = before
    lay_out_weights(net)
    with torch.no_grad():
        for blob, value in zip((blob for blobs in net.layer_params.values() for blob in blobs), kept, strict=True):
            blob.copy_(value)
    return {name: min(times[name] for times in rounds[1:]) for name in FORMATS}


def _seconds(net: Net, name: str, inputs: dict[str, Tensor]) -> float:
    net.memory_format = FORMATS[name]
    lay_out_weights(net)
    started = time.perf_counter()
    net.loss(net(**inputs)).backward()  # type: ignore[no-untyped-call]
    seconds = time.perf_counter() - started
    for param in net.params:
        param.tensor.grad = None
    return seconds
