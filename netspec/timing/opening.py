"""Makes a net ready to be timed: no data is read, random numbers of the same shapes stand for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from netspec.compiler import layer_error
from netspec.deploy import deploy_net
from netspec.errors import SpecError
from netspec.graph import PHASES, build, net_state
from netspec.inputs import laid_out
from netspec.layers import Layer
from netspec.layers.base import Shape
from netspec.layers.embed import Embed
from netspec.layers.hdf5_output import HDF5Output
from netspec.layers.sources import SOURCE_TYPES
from netspec.net import Net, open_device
from netspec.overrides import Overrides
from netspec.precision import is_16_bit, refusal
from netspec.schema.netspec_pb2 import NetParameter, Precision
from netspec.spec import Document
from netspec.summary import Summary, summarize


def open_net(
    path: str | Path,
    phase: str | None = None,
    *,
    weights: str = "",
    settings: Iterable[str] = (),
    stages: Sequence[str] = (),
    level: int = 0,
    shapes: Mapping[str, Shape] | None = None,
    define: Mapping[str, str] | None = None,
    device: str = "cpu",
    precision: str = "FP32",
    allow_python: bool = False,
) -> tuple[Net, Summary]:
    """A net without its data layers, which computes in a precision and in the memory format that is the fastest with
    it; and its summary. A .caffemodel is the net that it carries, with its weights, by default in phase TEST; others
    are in TRAIN, as `caffe time` has them.

    SpecError where the text is wrong, where neither it nor `shapes` says the shape of an input, where the net writes a
    file, or where the device cannot compute so; DataError where data is there, but wrong; SnapshotError where the
    weights are wrong.
    """
    place = open_device(device)
    kind: Precision.Kind = getattr(Precision, precision)
    if reason := refusal(kind, place):
        raise SpecError(reason, "--precision", precision)
    document: str | Path | Document[NetParameter] = path
    if is_trained := Path(path).suffix == ".caffemodel":
        document, weights = _deployed(path, shapes or {}), weights or str(path)
    phase = phase or ("TEST" if is_trained else "TRAIN")
    document = Overrides(settings, define).applied_to_net(document, PHASES[phase])
    stages = [*document.message.state.stage, *stages]
    summary = summarize(document, phase, stages=stages, level=level, shapes=shapes, allow_python=allow_python)
    nodes = build(document, net_state(phase, level, stages)).nodes
    rows = [(node.tops, row.tops) for node, row in zip(nodes, summary.rows, strict=True) if _is_input(node.param.type)]
    known = {top: shape for tops, sizes in rows for top, shape in zip(tops, sizes, strict=True)}
    net = Net(document, phase, stages=stages, level=level, shapes=known, device=place, allow_python=allow_python)
    _refuse_output(net)
    net.precision = kind
    channels_last = place.type == "cpu" or is_16_bit(kind)
    net.memory_format = torch.channels_last if channels_last else torch.contiguous_format
    if weights:
        net.load(weights)
    return net, summary


def _deployed(path: str | Path, shapes: Mapping[str, Shape]) -> Document[NetParameter]:
    try:
        return deploy_net(path, shapes)
    except SpecError as error:  # an input's shape is not in the file
        error.hint = "--shape NAME=N,C,H,W"
        raise


def _refuse_output(net: Net) -> None:
    for layer in net.compiled.layers:
        if isinstance(layer.module, HDF5Output):
            reason = f'random numbers would go into "{layer.module.path}": leave this layer out to time the net'
            raise layer_error(net.graph, layer.node, reason)


def _is_input(layer_type: str) -> bool:
    return layer_type == "Input" or layer_type in SOURCE_TYPES


def made_inputs(net: Net) -> dict[str, Tensor]:
    """Random numbers from 0 to below 1 for every input of a net, and whole ones where a layer reads labels or the
    numbers of words; on its device and in its memory format."""
    most: dict[str, int] = {}
    for layer in net.compiled.layers:
        for bottom, count in zip(layer.node.bottoms, _counts(layer.module), strict=False):
            if count:
                most[bottom] = min(count, most.get(bottom, count))
    inputs = {}
    for name in net.compiled.inputs:
        blob = torch.rand(net.blob_shapes[name], device=net.device)
        inputs[name] = laid_out((blob * most[name]).floor() if name in most else blob, net.memory_format)
    return inputs


def _counts(layer: Layer) -> tuple[int, ...]:
    """For each bottom how many whole numbers it may hold, from 0; 0 for one of any numbers."""
    if isinstance(layer, Embed):
        return (layer.blobs()[0].shape[0],)
    return (0, 0 if getattr(layer, "shares", False) else getattr(layer, "classes", 0))
