"""netspec: Caffe's way of working on PyTorch. A network is a text file, a training run is a text file."""

from netspec import data as _data  # registers the data layer types  # noqa: F401
from netspec import layers, params
from netspec.builder import NetSpec, to_proto
from netspec.errors import DataError, NetspecError, SnapshotError, SpecError, readable_errors
from netspec.evaluate import evaluate
from netspec.loading import LoadReport
from netspec.log import log_to_stderr
from netspec.net import Net
from netspec.solver import Solver
from netspec.spec import to_text
from netspec.upgrade import parse_net, parse_solver, read_net, read_solver

__all__ = [
    "DataError",
    "LoadReport",
    "Net",
    "NetSpec",
    "NetspecError",
    "SnapshotError",
    "Solver",
    "SpecError",
    "evaluate",
    "layers",
    "log_to_stderr",
    "params",
    "parse_net",
    "parse_solver",
    "read_net",
    "read_solver",
    "readable_errors",
    "to_proto",
    "to_text",
]
