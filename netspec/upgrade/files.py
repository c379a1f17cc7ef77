"""Whole files of any age, as the content of a file in today's form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from google.protobuf.message import DecodeError

from netspec.errors import SnapshotError
from netspec.files import read_whole
from netspec.positions import TextError, locate
from netspec.schema.netspec_pb2 import BlobProto, NetParameter, SolverParameter
from netspec.spec import document_of, to_text
from netspec.upgrade.net import net_document, older_net_forms, upgrade_net
from netspec.upgrade.solver import older_solver_forms, solver_document

_AXES = ("num", "channels", "height", "width")


def upgraded_text(path: Path, define: Mapping[str, str] | None = None) -> tuple[bytes, list[str]]:
    """A net or solver file in today's form, without its comments, and the older forms that it had. SpecError where it
    is wrong."""
    if is_solver(path):
        solver = document_of(path, SolverParameter, define)
        return to_text(solver_document(solver).message).encode(), older_solver_forms(solver.message)
    net = document_of(path, NetParameter, define)
    return to_text(net_document(net).message).encode(), older_net_forms(net.message)


def is_solver(path: Path) -> bool:
    """Whether more of a text's outermost fields are a solver's than a net's; where none is, whether the file's name
    says so."""
    try:
        names = {where[0] for where in locate(path.read_text(encoding="utf-8", errors="replace")) if len(where) == 2}
    except (OSError, TextError):
        names = set()
    solvers, nets = (len(names & set(kind.DESCRIPTOR.fields_by_name)) for kind in (SolverParameter, NetParameter))
    return solvers > nets if solvers != nets else "solver" in path.name


def upgraded_weights(path: Path) -> tuple[bytes, list[str]]:
    """A .caffemodel in today's form, and the older forms that it had. The values of its blobs stay as they are; an old
    blob's four sizes become its shape, ones in front included. SnapshotError where it is no .caffemodel."""
    try:
        net = NetParameter.FromString(read_whole(path))
    except DecodeError:
        raise SnapshotError(f"{path}: this is no caffemodel of Caffe's own, or it is damaged") from None
    forms, net = older_net_forms(net), upgrade_net(net)
    blobs = list(_blobs_with_old_shape(net))
    for blob in blobs:
        blob.shape.dim.extend(getattr(blob, axis) for axis in _AXES)
        for axis in _AXES:
            blob.ClearField(axis)
    return net.SerializeToString(), [*forms, *(["four-number shapes"] if blobs else [])]


def _blobs_with_old_shape(net: NetParameter) -> Iterator[BlobProto]:
    """The blobs whose shape is in the old fields; as in Caffe, one of those is enough for all four to count."""
    for layer in net.layer:
        yield from (blob for blob in layer.blobs if any(blob.HasField(axis) for axis in _AXES))
