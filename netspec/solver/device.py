"""Where a run computes."""

from __future__ import annotations

import torch

from netspec.log import logger
from netspec.net import open_device
from netspec.schema.netspec_pb2 import SolverParameter


def choose_device(solver: SolverParameter, device: str | torch.device | None) -> torch.device:
    """The device asked for, by the caller or by solver_mode; without a GPU, the CPU, and one line saying so."""
    if device is not None:
        return open_device(device)
    if solver.solver_mode == SolverParameter.CPU:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        if solver.HasField("solver_mode"):
            logger.warning("solver_mode is GPU, but there is none here: running on the CPU")
        return torch.device("cpu")
    torch.backends.cudnn.allow_tf32 = False  # cuDNN would round fp32 inputs to ten bits; Caffe never did
    return torch.device("cuda", solver.device_id)
