"""netspec: Caffe's way of working on PyTorch. A network is a text file, a training run is a text file."""

from netspec import data as _data  # registers the data layer types  # noqa: F401
from netspec.errors import DataError, NetspecError, SnapshotError, SpecError, readable_errors
from netspec.evaluate import evaluate
from netspec.log import log_to_stderr
from netspec.net import LoadReport, Net
from netspec.solver import Solver
from netspec.spec import parse_net, parse_solver, read_net, read_solver, to_text

__all__ = [
    "DataError",
    "LoadReport",
    "Net",
    "NetspecError",
    "SnapshotError",
    "Solver",
    "SpecError",
    "evaluate",
    "log_to_stderr",
    "parse_net",
    "parse_solver",
    "read_net",
    "read_solver",
    "readable_errors",
    "to_text",
]
