"""Scaling of the loss for FP16."""

import logging

import pytest
import torch
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st

from netspec import Net
from netspec.errors import DivergedError
from netspec.schema.netspec_pb2 import NetParameter, RunState
from netspec.solver import loss_scale
from netspec.solver.loss_scale import FIRST, LEAST, LossScale
from netspec.solver.passes import Passes

CPU = torch.device("cpu")

NET = """
layer {{ name: "data" type: "DummyData" top: "data" top: "target" dummy_data_param {{
  shape {{ dim: 4 dim: 8 }} shape {{ dim: 4 dim: 2 }}
  data_filler {{ type: "constant" value: {size} }} data_filler {{ type: "constant" value: 0 }} }} }}
layer {{ name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param {{ num_output: 16 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "relu" type: "ReLU" bottom: "ip" top: "ip" }}
layer {{ name: "ip2" type: "InnerProduct" bottom: "ip" top: "ip2"
  inner_product_param {{ num_output: 2 weight_filler {{ type: "xavier" }} }} }}
layer {{ name: "loss" type: "EuclideanLoss" bottom: "ip2" bottom: "target" top: "loss" loss_weight: {weight} }}
"""


def net_of(size: float = 1.0, weight: float = 1.0, precision: str = "FP16") -> Net:
    """A net whose data are all `size`; the same for all precisions."""
    torch.manual_seed(0)
    net = Net(text_format.Parse(NET.format(size=size, weight=weight), NetParameter()), "TRAIN")
    net.precision = precision
    return net


def gradient(net: Net, name: str = "ip") -> torch.Tensor | None:
    """That of a layer's weight."""
    return net.layer_params[name][0].grad


@given(st.lists(st.booleans(), max_size=40))
def test_the_rule_is_grad_scalers(overflows: list[bool]) -> None:
    """Whatever overflows when, scale, gradients and verdicts are those of torch.amp.GradScaler."""
    weight = torch.nn.Parameter(torch.zeros(3))
    optimiser = torch.optim.SGD([weight], lr=1.0)
    theirs, ours = torch.amp.GradScaler("cpu", FIRST, growth_interval=3), LossScale(CPU)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loss_scale, "GROWTH_INTERVAL", 3)
        for overflow in overflows:
            loss = torch.tensor(torch.inf if overflow else 1.5)
            assert torch.equal(ours.scaled(loss), theirs.scale(loss))
            gradients = (
                ours.scaled(loss) * torch.tensor([1.0, 0.0, -2.0]) if not overflow else torch.full((3,), torch.nan)
            )
            before, weight.grad = weight.detach().clone(), gradients.clone()
            theirs.step(optimiser)
            theirs.update()
            if usable := ours.unscale([gradients]):
                assert torch.equal(before - gradients, weight.detach())
            assert usable == (not torch.equal(before, weight.detach()))
            assert ours.scale == theirs.get_scale()
    assert ours.skipped == sum(overflows)


def test_it_doubles_after_two_thousand() -> None:
    """One short of 2000 good iterations the scale is what it was; an overflow lets the count begin anew."""
    scale = LossScale(CPU)
    gradients = [torch.ones(2)]
    for _ in range(1999):
        assert scale.unscale(gradients)
    assert scale.scale == FIRST
    assert not scale.unscale([torch.tensor([torch.inf])])
    assert scale.scale == FIRST / 2
    assert all(scale.unscale(gradients) for _ in range(2000))
    assert scale.scale == FIRST


def test_it_is_restored() -> None:
    """A snapshot brings back the scale and the count; that of a run without one leaves them."""
    before, after = LossScale(CPU), LossScale(CPU)
    for value in (1.0, torch.nan, 1.0, 1.0):
        before.unscale([torch.tensor([value])])
    run = RunState()
    before.store(run)
    assert (run.loss_scale.scale, run.loss_scale.good) == (FIRST / 2, 2)
    after.restore(RunState.FromString(run.SerializeToString()))
    after.restore(RunState())
    again = RunState()
    after.store(again)
    assert again == run


def test_skipped_updates_are_logged_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    """The first, second, fourth, eighth and so on."""
    scale = LossScale(CPU)
    with caplog.at_level(logging.INFO, "netspec"):
        for _ in range(9):
            scale.unscale([torch.tensor([torch.nan])])
    reason = "gradients overflow FP16: no update in this iteration, and a loss scale of"
    assert [record.getMessage() for record in caplog.records] == [
        f"{reason} {given}" for given in ("32768 (skipped so far: 1)", "16384 (skipped so far: 2)",
                                          "4096 (skipped so far: 4)", "256 (skipped so far: 8)")
    ]  # fmt: skip


def test_it_ends_where_no_scale_helps() -> None:
    """Gradients that are NaN at any scale end the run."""
    scale = LossScale(CPU)
    with pytest.raises(DivergedError, match=r"not finite in FP16 even with a loss scale of 5\.96046e-08"):
        for _ in range(100):
            scale.unscale([torch.tensor([torch.nan])])
    assert LEAST / 2 <= scale.scale < LEAST


@pytest.mark.parametrize("iter_size", [1, 2])
def test_small_gradients_survive(iter_size: int) -> None:
    """Gradients too small for FP16 are lost without the scale, and those of FP32 within rounding with it; so is the
    loss."""
    alone, scaled, full = net_of(weight=1e-7), net_of(weight=1e-7), net_of(weight=1e-7, precision="FP32")
    losses = [
        Passes(net, iter_size, scale).run()[1] for net, scale in ((alone, None), (scaled, LossScale(CPU)), (full, None))
    ]
    lost, ours, theirs = gradient(alone), gradient(scaled), gradient(full)
    assert lost is not None
    assert ours is not None
    assert theirs is not None
    assert (lost - theirs).norm() > 0.2 * theirs.norm()
    assert (ours - theirs).norm() < 0.01 * theirs.norm()
    assert [loss.item() for loss in losses] == pytest.approx([losses[2].item()] * 3, rel=0.01)
    assert ours.dtype == torch.float32


def test_an_overflow_of_the_scaled_loss_is_no_divergence() -> None:
    """Gradients that overflow because of the scale are dropped while the loss is a number; after some iterations the
    scale fits."""
    net, scale = net_of(size=30.0, weight=100.0), LossScale(CPU)
    passes, full = Passes(net, 1, scale), net_of(size=30.0, weight=100.0, precision="FP32")
    _, loss = passes.run()
    assert torch.isfinite(loss)
    assert not passes.is_usable
    assert all(param.tensor.grad is None for param in net.params)
    while not passes.is_usable:
        passes.run()
    Passes(full, 1).run()
    ours, theirs = gradient(net), gradient(full)
    assert ours is not None
    assert theirs is not None
    assert (ours - theirs).norm() < 0.01 * theirs.norm()
    assert scale.scale == FIRST / 2**scale.skipped


def test_without_a_scale_all_gradients_are_usable() -> None:
    """FP32 and BF16 look at nothing."""
    net = net_of(size=30.0, precision="BF16")
    passes = Passes(net, 1)
    passes.run()
    assert passes.is_usable
    assert gradient(net) is not None
