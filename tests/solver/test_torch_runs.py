"""Runs through several snapshots, against a loop with PyTorch's optimizer of the same rule."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from netspec import Net, Solver

Build = Callable[..., Solver]
Optimizer = Callable[[Sequence[Any]], torch.optim.Optimizer]
PARTS = (4, 7, 1, 8)
"""Iterations from snapshot to snapshot."""

RULES: dict[str, tuple[dict[str, Any], Optimizer]] = {
    "Adam": (
        {"momentum": 0.9, "momentum2": 0.99, "delta": 0.0, "weight_decay": 0.01},
        lambda params: torch.optim.Adam(params, lr=0.002, betas=(0.9, 0.99), eps=0.0, weight_decay=0.01),
    ),
    "AdamW": (
        {"momentum": 0.9, "momentum2": 0.99, "delta": 1e-8, "weight_decay": 0.1},
        lambda params: torch.optim.AdamW(params, lr=0.002, betas=(0.9, 0.99), weight_decay=0.1),
    ),
    "RAdam": (
        {"momentum": 0.9, "momentum2": 0.99, "delta": 1e-8, "weight_decay": 0.01},
        lambda params: torch.optim.RAdam(params, lr=0.002, betas=(0.9, 0.99), weight_decay=0.01),
    ),
    "Nesterov": (
        {"momentum": 0.9, "weight_decay": 0.01},
        lambda params: torch.optim.SGD(params, lr=0.002, momentum=0.9, weight_decay=0.01, nesterov=True),
    ),
}
NET = """
layer {{ name: "data" type: "Data" top: "data" top: "label" transform_param {{ scale: 0.0625 }}
  data_param {{ source: "{}" batch_size: 32 backend: LMDB shuffle: true }} }}
layer {{ name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param {{ num_output: 8 kernel_size: 3 weight_filler {{ type: "msra" }} }} }}
layer {{ name: "tanh" type: "TanH" bottom: "conv" top: "conv" }}
layer {{ name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
  inner_product_param {{ num_output: 10 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }}
"""
DIGITS = Path(__file__).parents[2] / "netspec" / "data" / "digits" / "train_lmdb"


def by_hand(net: Net, make: Optimizer) -> list[Tensor]:
    """The blobs after as many iterations of the loop that everybody writes, from those of the net."""
    params = [param.tensor for param in net.params]
    optimizer = make(params)
    for _ in range(sum(PARTS)):
        optimizer.zero_grad()
        net.loss(net()).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    net.close()
    return [param.detach() for param in params]


@pytest.mark.parametrize("solver_type", RULES)
def test_a_run_in_parts_is_torchs_run(solver_of: Build, tmp_path: Path, solver_type: str) -> None:
    """After four parts, each resumed from the snapshot of the one before, the blobs are torch's to 1e-6."""
    (tmp_path / "plain.prototxt").write_text(NET.format(DIGITS))
    fields, make = RULES[solver_type]
    common = {"net": str(tmp_path / "plain.prototxt"), "type": solver_type, "lr_policy": "fixed", "base_lr": 0.002}
    fields = {**common, **fields, "test_interval": 0, "snapshot": 0, "test_iter": []}
    expected = by_hand(solver_of(**fields).net, make)
    for index, part in enumerate(PARTS):
        solver = solver_of(**fields)
        if index:
            solver.resume()
        solver.step(part)
        solver.snapshot()
    for ours, theirs in zip(solver.net.params, expected, strict=True):
        torch.testing.assert_close(ours.tensor.detach(), theirs, rtol=1e-6, atol=1e-6)
