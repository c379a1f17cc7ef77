"""Makes a net ready to be timed: no data is read, random numbers of the same shapes stand for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from netspec.compiler import layer_error
from netspec.deploy import deploy_net
from netspec.errors import SpecError
from netspec.graph import PHASES
from netspec.layers.base import Shape
from netspec.layers.hdf5_output import HDF5Output
from netspec.memory_format import fastest_format
from netspec.net import Net, open_device
from netspec.overrides import Overrides
from netspec.precision import refusal
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
    summary = summarize(document, phase, stages=stages, level=level, shapes=shapes, allow_python=allow_python)
    known = summary.inputs
    net = Net(document, phase, stages=stages, level=level, shapes=known, device=place, allow_python=allow_python)
    _refuse_output(net)
    net.precision, net.memory_format = kind, fastest_format(place, kind)
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
