"""The moving average of the weights."""

from collections.abc import Callable

import pytest
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from netspec import Net, Solver

Build = Callable[..., Solver]


def test_the_average_is_torchs(solver_of: Build) -> None:
    """Weights and statistics are averaged as by torch's AveragedModel that starts from the first blobs."""
    solver = solver_of(ema_decay=0.9, snapshot=0, test_interval=0)
    params = [param.tensor for param in solver.net.params]
    holder = torch.nn.ParameterList([torch.nn.Parameter(blob.detach().clone()) for blob in params])
    theirs = AveragedModel(holder, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    theirs.update_parameters(holder)
    for _ in range(10):
        solver.step(1)
        for held, blob in zip(holder, params, strict=True):
            held.data.copy_(blob.detach())
        theirs.update_parameters(holder)
    assert solver.average is not None
    for ours, their in zip(solver.average.values, theirs.parameters(), strict=True):
        torch.testing.assert_close(ours, their.detach())


@pytest.mark.parametrize("test_ema", [True, False])
def test_tests_see_the_average(solver_of: Build, test_ema: bool) -> None:
    """Test nets compute with the average, unless test_ema is false; the weights are then as they were."""
    solver = solver_of(ema_decay=0.9, test_ema=test_ema, snapshot=0, test_interval=0)
    solver.step(10)
    assert solver.average is not None
    before = [param.tensor.detach().clone() for param in solver.net.params]
    seen = []
    solver.param.test_interval = 1
    solver._tests.turn_on()
    test_net = solver.test_nets[0]
    test_net.register_forward_pre_hook(lambda *_: seen.append(test_net.layer_params["ip"][0].detach().clone()))
    solver.test()
    index = next(i for i, param in enumerate(solver.net.params) if param.layer == "ip")
    assert torch.equal(seen[0], (solver.average.values if test_ema else before)[index])
    assert all(torch.equal(a, param.tensor) for a, param in zip(before, solver.net.params, strict=True))


def test_the_average_is_saved_beside_the_weights(solver_of: Build) -> None:
    """PREFIX_iter_N_ema is a weights file like any other, and what a resumed run goes on from."""
    solver = solver_of(ema_decay=0.9)
    solver.step(4)
    state = solver.snapshot()
    assert solver.average is not None
    net = Net(solver.net.graph.document, "TEST", weights=state.with_name("run_iter_4_ema.caffemodel"))
    index = next(i for i, param in enumerate(solver.net.params) if param.layer == "ip")
    assert torch.equal(net.layer_params["ip"][0], solver.average.values[index])
    other = solver_of(ema_decay=0.9, random_seed=9)
    other.resume()
    assert other.average is not None
    assert all(torch.equal(a, b) for a, b in zip(other.average.values, solver.average.values, strict=True))


def test_a_run_that_takes_up_averaging(solver_of: Build) -> None:
    """Resumed from a snapshot without one, the average begins with the weights of the snapshot."""
    solver = solver_of()
    solver.step(4)
    solver.snapshot()
    other = solver_of(ema_decay=0.9, random_seed=9)
    other.resume()
    assert other.average is not None
    pairs = zip(other.average.values, solver.net.params, strict=True)
    assert all(torch.equal(average, param.tensor) for average, param in pairs)
