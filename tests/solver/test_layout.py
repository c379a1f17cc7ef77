"""The weights of convolutions in the memory format of their net."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from netspec import Net, Solver, parse_net
from netspec.schema.netspec_pb2 import SolverParameter
from netspec.solver.layout import lay_out_weights

Build = Callable[..., Solver]

WINDOWS = {"net": str(Path(__file__).with_name("every_form.prototxt")), "base_lr": 0.001, "memory_format": 2}
"""A run with windows over several channels."""

LAST, FIRST = torch.channels_last, torch.contiguous_format
NET = """
layer { name: "data" type: "Input" top: "x" input_param { shape { dim: [1, 8, 6, 6] } } }
layer { name: "light" type: "Convolution" bottom: "x" top: "a"
  convolution_param { num_output: 8 kernel_size: 3 pad: 1 weight_filler { type: "xavier" } } }
layer { name: "heavy" type: "Convolution" bottom: "a" top: "b"
  convolution_param { num_output: 16384 kernel_size: 3 pad: 1 } }
layer { name: "point" type: "Convolution" bottom: "a" top: "c" convolution_param { num_output: 8 kernel_size: 1 } }
layer { name: "row" type: "Convolution" bottom: "x" top: "r"
  convolution_param { num_output: 8 kernel_size: 6 weight_filler { type: "xavier" } } param { name: "w" } }
layer { name: "product" type: "InnerProduct" bottom: "x" top: "p" inner_product_param { num_output: 8 }
  param { name: "w" share_mode: PERMISSIVE } }
"""


def history_of(net: Net) -> list[torch.Tensor]:
    """Two blobs of history for each of the net, all of other numbers."""
    return [torch.randn_like(param.tensor) for _ in range(2) for param in net.params]


@pytest.mark.parametrize(
    ("precision", "expected"),
    [("FP32", {"light"}), ("BF16", {"light", "heavy"})],
)
def test_weights_take_the_format(precision: str, expected: set[str]) -> None:
    """Weights with windows lie channels last, heavy ones in 16 bits only, and their history with them; those shared in
    another shape stay. Values and tensors are the same, and the way back is whole."""
    net = Net(parse_net(NET), "TRAIN")
    net.precision, net.memory_format = precision, LAST
    history = history_of(net)
    tensors = [param.tensor for param in net.params] * 3
    blobs = [*(param.tensor for param in net.params), *history]
    values = [blob.detach().clone() for blob in blobs]
    for memory_format, moved in ((LAST, expected), (FIRST, set[str]())):
        net.memory_format = memory_format
        lay_out_weights(net, history)
        last = {
            param.layer
            for index, param in enumerate(net.params)
            for blob in blobs[index :: len(net.params)]
            if not blob.is_contiguous()
        }
        assert last == moved
        assert all(torch.equal(blob, value) for blob, value in zip(blobs, values, strict=True))
        for blob, weight in zip(blobs, tensors, strict=True):
            assert blob.is_contiguous() == weight.is_contiguous()
    assert [id(param.tensor) for param in net.params] == [id(tensor) for tensor in tensors[: len(net.params)]]


@pytest.mark.parametrize("kind", ["SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam", "AdamW", "LARS"])
def test_a_run_learns_the_same(solver_of: Build, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Where a run lays its weights out, every solver type learns what it learns elsewhere to 1e-5, and a snapshot has
    the same shapes."""
    fields = {**WINDOWS, "type": kind, "momentum": 0.0 if kind in ("AdaGrad", "RMSProp") else 0.9}
    runs = []
    for laid_out in (True, False):
        if not laid_out:
            monkeypatch.setattr("netspec.solver.forms.lay_out_weights", lambda *_: None)
        solver = solver_of(**fields)
        assert any(not param.tensor.is_contiguous() for param in solver.net.params) == laid_out
        solver.step(20)
        runs.append([*(param.tensor.detach() for param in solver.net.params), *solver.update.history])
    for ours, theirs in zip(*runs, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * max(1.0, float(theirs.abs().max())))


@pytest.mark.parametrize("fields", [{}, {"exact": True}])
def test_a_run_goes_on_to_the_bit(solver_of: Build, tmp_path: Path, fields: dict[str, bool]) -> None:
    """A run that resumes has its weights laid out as before, whether it is solved or stepped: they are those of a run
    without a break, to the bit."""
    whole = solver_of(**WINDOWS, max_iter=8, snapshot=4, **fields)
    whole.solve()
    for go_on in (Solver.solve, lambda solver: solver.step(4)):
        resumed = solver_of(**WINDOWS, max_iter=8, **fields)
        resumed.restore(tmp_path / "run_iter_4.solverstate")
        go_on(resumed)
        weights = zip(resumed.net.params, whole.net.params, strict=True)
        assert all(torch.equal(ours.tensor, theirs.tensor) for ours, theirs in weights)
        assert any(not param.tensor.is_contiguous() for param in resumed.net.params)


@pytest.mark.parametrize("snapshot_format", ["BINARYPROTO", "HDF5", "SAFETENSORS"])
def test_snapshots_have_caffes_order(solver_of: Build, tmp_path: Path, snapshot_format: str) -> None:
    """Weights and history are written in the order of Caffe's blobs, however they lie in memory, and read back so."""
    solver = solver_of(**WINDOWS, snapshot_format=SolverParameter.SnapshotFormat.Value(snapshot_format))
    solver.step(2)
    state = solver.snapshot()
    (weights,) = (path for path in tmp_path.glob("run_iter_2.*") if "solverstate" not in path.name)
    plain = Net(str(WINDOWS["net"]), "TRAIN", weights=weights)
    for ours, theirs in zip(solver.net.params, plain.params, strict=True):
        assert theirs.tensor.is_contiguous() and torch.equal(ours.tensor, theirs.tensor)
    other = solver_of(**{**WINDOWS, "memory_format": 1})
    other.restore(state)
    assert all(map(torch.equal, solver.update.history, other.update.history))
    assert all(blob.is_contiguous() for blob in other.update.history)
    assert any(blob.count_nonzero() for blob in other.update.history)


def test_gradients_in_another_format(solver_of: Build) -> None:
    """A gradient that does not lie like its weight moves it by the same numbers."""
    solver = solver_of(**WINDOWS)
    assert any(not param.tensor.is_contiguous() for param in solver.net.params)
    moved = []
    start = [param.tensor.detach().clone() for param in solver.net.params]
    for memory_format in (LAST, FIRST):
        for param, value in zip(solver.net.params, start, strict=True):
            param.tensor.data.copy_(value)
            gradient = torch.arange(value.numel(), dtype=torch.float32).view(value.shape)
            param.tensor.grad = gradient.contiguous(memory_format=memory_format if value.dim() == 4 else FIRST)
        for blob in solver.update.history:
            blob.zero_()
        solver.update.apply(solver.param, 0.1, 0)
        moved.append([param.tensor.detach().clone() for param in solver.net.params])
    assert all(torch.equal(*pair) for pair in zip(*moved, strict=True))
    assert not all(torch.equal(*pair) for pair in zip(moved[0], start, strict=True))
