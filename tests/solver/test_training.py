"""A whole run on real digits, against the one that Caffe recorded."""

from pathlib import Path

import numpy as np
import pytest
import torch

from netspec import Net, Solver

RECORDED = Path(__file__).parents[1] / "golden" / "training"


@pytest.fixture(scope="module")
def curve() -> dict[str, np.ndarray]:
    """The losses of 100 iterations, and what the trained net says of the test set."""
    return dict(np.load(RECORDED / "curve.npz"))


@pytest.fixture
def solver(tmp_path: Path) -> Solver:
    """The recorded solver file; its snapshots go elsewhere."""
    return Solver(RECORDED / "solver.prototxt", snapshot_prefix=str(tmp_path / "run"))


def test_loss_curve_is_caffes(solver: Solver, curve: dict[str, np.ndarray]) -> None:
    """From Caffe's initial weights, 20 losses agree to 1e-3 and all 100 to 2 %; so does the trained net's test."""
    solver.net.load(RECORDED / "init.caffemodel", whole=True)
    losses = []
    for _ in range(100):
        solver.step(1)
        losses += solver._display.shown_losses
    np.testing.assert_allclose(losses[:20], curve["loss"][:20], rtol=1e-3)
    np.testing.assert_allclose(losses, curve["loss"], rtol=0.02)
    (result,) = solver.test()
    assert result["loss"][0] == pytest.approx(float(curve["test_loss"]), rel=0.02)
    assert result["accuracy"][0] == pytest.approx(float(curve["test_accuracy"]), abs=1 / 297 + 1e-6)


def test_trained_net_gives_caffes_scores(curve: dict[str, np.ndarray]) -> None:
    """With Caffe's weights the scores of all test digits are Caffe's."""
    net = Net(RECORDED / "net.prototxt", weights=RECORDED / "run_iter_100.caffemodel")
    ((_, source),) = net.sources
    with torch.no_grad():
        scores = torch.cat([net(data=data, blobs=("ip",))["ip"] for data, _ in source.once()])
    np.testing.assert_allclose(scores.numpy(), curve["scores"], rtol=0, atol=1e-4 * np.abs(curve["scores"]).max())
