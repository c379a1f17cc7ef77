"""Runs that diverge: they stop at once, name the first layer that is not finite, and keep the last good snapshot."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from netspec import Solver
from netspec.errors import DivergedError
from netspec.solver.finite import first_not_finite

Build = Callable[..., Solver]
TOOL = Path(__file__).parents[2] / "tools" / "solve.py"
RECORDS, BATCH = 40, 4
DATA = """
layer {{
  name: "in" type: "HDF5Data" top: "data" top: "label"
  hdf5_data_param {{ source: "{list}" batch_size: 4 }}
}}
"""
HEAD = """
layer {
  name: "ip" type: "InnerProduct" bottom: "conv" top: "ip"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } }
}
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
CONV = """
layer {
  name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } }
}
layer { name: "relu" type: "ReLU" bottom: "conv" top: "conv" }
"""


@pytest.fixture
def run_of(tmp_path: Path) -> Callable[..., Solver]:
    """Build the solver of a net over records of noise; `wrong` is the index of one with a NaN pixel."""

    def build(layers: str = CONV + HEAD, wrong: int | None = None, **fields: Any) -> Solver:
        draw = np.random.default_rng(0)
        data = draw.random((RECORDS, 3, 6, 6), np.float32)
        if wrong is not None:
            data[wrong, 1, 2, 2] = np.nan
        with h5py.File(tmp_path / "records.h5", "w") as file:
            file["data"], file["label"] = data, draw.integers(0, 3, RECORDS).astype(np.float32)
        (tmp_path / "list.txt").write_text(f"{tmp_path / 'records.h5'}\n")
        (tmp_path / "net.prototxt").write_text(DATA.format(list=tmp_path / "list.txt") + layers)
        (tmp_path / "run.solver").write_text(
            'net: "net.prototxt" base_lr: 0.01 lr_policy: "fixed" max_iter: 30 snapshot: 2 solver_mode: CPU\n'
        )
        return Solver(tmp_path / "run.solver", **fields)

    return build


@pytest.mark.parametrize(("iter_size", "iteration"), [(1, 6), (3, 2), (7, 0)])
def test_a_wrong_pixel(run_of: Build, tmp_path: Path, iter_size: int, iteration: int) -> None:
    """The iteration that reads it is the last, whichever of its batches has it; the message names the data layer, and
    the snapshot before is the newest."""
    solver = run_of(wrong=25, iter_size=iter_size)
    kept = f"the last snapshot is {tmp_path}/run_iter_{iteration}.solverstate"
    reason = f'the loss is nan; the first that is not finite is top "data" of layer "in"; {kept}'
    if not iteration:
        reason = reason.replace(kept, "there is no snapshot yet")
    with pytest.raises(DivergedError) as raised:
        solver.solve()
    assert str(raised.value) == f"Iteration {iteration}: {reason}"
    found = {path.name for path in tmp_path.glob("*.solverstate")}
    assert found == {f"run_iter_{number}.solverstate" for number in range(2, iteration + 1, 2)}


@pytest.mark.parametrize("solver_type", ["SGD", "Nesterov"])
def test_a_rate_a_thousand_times_too_high(solver_of: Build, tmp_path: Path, solver_type: str) -> None:
    """The run ends with an error, and what can be resumed is finite."""
    solver = solver_of(base_lr=50, type=solver_type)
    with pytest.raises(DivergedError, match=r'the first that is not finite is blob 0 of layer "conv1"; the last snap'):
        solver.solve()
    assert solver.iter < 20
    other = solver_of(base_lr=50, type=solver_type)
    other.resume()
    assert all(bool(param.tensor.isfinite().all()) for param in other.net.params)


IN_PLACE_LOG = 'layer { name: "log" type: "Log" bottom: "conv" top: "conv" }'
POWER = 'layer { name: "root" type: "Power" bottom: "conv" top: "conv" power_param { shift: -9 power: 0.5 } }'
NORMALIZED = 'layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "conv" }'
LSTM = """
layer { name: "time" type: "Reshape" bottom: "data" top: "time" reshape_param { shape { dim: 4 dim: 1 dim: -1 } } }
layer { name: "begin" type: "DummyData" top: "begin" dummy_data_param { shape { dim: 4 dim: 1 } } }
layer {
  name: "lstm" type: "LSTM" bottom: "time" bottom: "begin" top: "lstm"
  recurrent_param { num_output: 3 weight_filler { type: "xavier" } }
}
layer { name: "ip" type: "Reshape" bottom: "lstm" top: "ip" reshape_param { shape { dim: 4 dim: 3 } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
OVERFLOW = """
layer { name: "far" type: "Power" bottom: "ip" top: "far" power_param { scale: 1e25 } }
layer { name: "zero" type: "Power" bottom: "ip" top: "zero" power_param { scale: 0 } }
layer { name: "distance" type: "EuclideanLoss" bottom: "far" bottom: "zero" top: "distance" }
"""
SUM = """
layer { name: "huge" type: "Power" bottom: "ip" top: "huge" power_param { scale: 0 shift: 1e15 } }
layer { name: "zero" type: "Power" bottom: "ip" top: "zero" power_param { scale: 0 } }
layer { name: "huge_loss" type: "EuclideanLoss" bottom: "huge" bottom: "zero" top: "huge_loss" loss_weight: 1e30 }
"""


@pytest.mark.parametrize(
    ("layers", "loss", "named"),
    [
        (CONV + IN_PLACE_LOG + HEAD, "nan", 'top "conv" of layer "log"'),
        (CONV + POWER + HEAD, "nan", 'top "conv" of layer "root"'),
        (CONV + HEAD + OVERFLOW, "inf", 'top "distance" of layer "distance"'),
    ],
)
def test_the_layer_that_makes_it(run_of: Build, layers: str, loss: str, named: str) -> None:
    """Where what is read is finite and what is made is not, that layer is named, in place or not."""
    reason = f"^Iteration 0: the loss is {loss}; the first that is not finite is {named}"
    with pytest.raises(DivergedError, match=reason):
        run_of(layers).solve()


def test_the_sum_of_finite_losses(run_of: Build) -> None:
    """Each loss is finite, but not their weighted sum."""
    with pytest.raises(DivergedError, match="the loss is inf; the first that is not finite is the sum of the losses"):
        run_of(CONV + HEAD + SUM).solve()


@pytest.mark.parametrize(
    ("layers", "layer", "index"),
    [(CONV + HEAD, "ip", 1), (CONV + NORMALIZED + HEAD, "bn", 0), (LSTM, "lstm", 2)],
)
def test_weights_that_are_not_finite(run_of: Build, layers: str, layer: str, index: int) -> None:
    """A blob, of whatever layer, statistics included, is named by its layer and index."""
    net = run_of(layers, settings=["bn.batch_norm_param.use_global_stats=true"] if layer == "bn" else []).net
    assert first_not_finite(net, 1) == ""
    with torch.no_grad():
        net.layer_params[layer][index].view(-1)[0] = torch.inf
    assert first_not_finite(net, 1) == f'blob {index} of layer "{layer}"'


def test_weights_from_a_file(run_of: Build, tmp_path: Path) -> None:
    """A NaN that was loaded is found in the first iteration, and named where it is."""
    first = run_of()
    with torch.no_grad():
        first.net.layer_params["conv"][0][0, 0, 0, 0] = torch.nan
    first.net.save(tmp_path / "wrong.caffemodel")
    with pytest.raises(DivergedError, match='is blob 0 of layer "conv"; there is no snapshot yet'):
        run_of(weights=str(tmp_path / "wrong.caffemodel")).solve()


@pytest.mark.parametrize(("kind", "named"), [("blobs", "the blobs"), ("history", "the history")])
def test_no_snapshot_of_what_is_not_finite(run_of: Build, tmp_path: Path, kind: str, named: str) -> None:
    """An update that goes wrong while the loss was still finite is found by the snapshot that is due."""
    solver = run_of(snapshot_keep=1)
    solver.step(3)
    with torch.no_grad():
        (solver.net.params[2].tensor if kind == "blobs" else solver.update.history[2])[0, 0] = torch.nan
    reason = f'no snapshot is made, since {named} of layer "ip" is not finite; the last snapshot is .*run_iter_2'
    with pytest.raises(DivergedError, match=reason):
        solver.snapshot()
    assert [path.name for path in tmp_path.glob("*.solverstate")] == ["run_iter_2.solverstate"]


def test_a_test_that_is_not_finite(solver_of: Build, caplog: pytest.LogCaptureFixture) -> None:
    """A warning names the output; it is no better than what was, and the run goes on."""
    solver = solver_of(watch="loss", test_interval=2)
    solver.step(1)
    with torch.no_grad():
        statistics = solver.net.layer_params["bn1"][1]
        statistics.fill_(torch.nan)  # read in tests only
    solver._test_and_judge(solver._saving.parts())
    assert not solver._watch.is_best
    assert "Iteration 1, test net #0: not finite: accuracy, loss" in caplog.text


def test_exit_code(run_of: Build, tmp_path: Path) -> None:
    """tools/solve.py has an exit code of its own for it; its last line is the error."""
    run_of(wrong=9).close()
    command = [sys.executable, TOOL, "run.solver"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1].startswith("error: Iteration 2: the loss is nan; the first that is not finite")
