"""EuclideanLoss, SmoothL1Loss."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st


def test_euclidean_shapes(build):
    """The bottoms of EuclideanLoss need only the first axis and the count in common; N is the batch at hand."""
    layer = build('type: "EuclideanLoss"', (2, 1, 3), (2, 3))
    a, b = torch.randn(5, 1, 3), torch.randn(5, 3)
    torch.testing.assert_close(layer(a, b), (a[:, 0] - b).square().sum() / 10)


@settings(max_examples=100)
@given(st.integers(1, 3), st.integers(1, 4), st.sampled_from((None, 0.5, 1, 3)), st.integers(2, 4), st.integers(0, 99))
def test_smooth_l1(build, n, channels, sigma, bottoms, seed):
    """With any sigma and any weights, values and both gradients are the formula's; the weights get none."""
    random = np.random.default_rng(seed)
    a, b, *weights = random.normal(size=(bottoms, n, channels)).astype(np.float32) * 2
    shapes = [(n, channels), (n, channels, 1, 1), (n, channels, 1), (n, channels)][:bottoms]
    text = 'type: "SmoothL1Loss"' + (f" smooth_l1_loss_param {{ sigma: {sigma} }}" if sigma else "")
    tensors = [torch.from_numpy(x).reshape(s).requires_grad_() for x, s in zip([a, b, *weights], shapes, strict=True)]
    loss = build(text, *shapes)(*tensors)
    loss.backward()

    inside, outside = [*weights, 1, 1][:2]
    d, s2 = inside * (a - b), (sigma or 1) ** 2
    near = abs(d) < 1 / s2
    losses = outside * np.where(near, 0.5 * s2 * d**2, abs(d) - 0.5 / s2)
    assert loss.item() == pytest.approx(losses.sum() / n, rel=1e-4, abs=1e-5)
    grad = inside * outside * np.where(near, s2 * d, np.sign(d)) / n
    np.testing.assert_allclose(tensors[0].grad, grad, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(tensors[1].grad.reshape(n, channels), -grad, rtol=1e-4, atol=1e-5)
    assert all(x.grad is None for x in tensors[2:])
