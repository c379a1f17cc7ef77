"""HingeLoss, ContrastiveLoss: both against their formulas in NumPy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st


@settings(max_examples=60)
@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 3), st.booleans(), st.integers(0, 2**32))
def test_hinge(build, n, channels, width, squared, seed):
    """Every value of an item is a class; values and gradients are the formula's, missed margins squared with L2."""
    random = np.random.default_rng(seed)
    scores = random.normal(size=(n, channels, width)).astype(np.float32)
    labels = random.integers(channels * width, size=(n, 1))
    text = f'type: "HingeLoss" hinge_loss_param {{ norm: {"L2" if squared else "L1"} }}'
    x = torch.from_numpy(scores).requires_grad_()
    layer = build(text, x.shape, labels.shape)
    loss = layer(x, torch.from_numpy(labels).float())
    loss.backward()

    signs = np.where(np.arange(channels * width) == labels, 1.0, -1.0).reshape(scores.shape)
    missed = np.maximum(0, 1 - signs * scores)
    assert layer.classes == channels * width
    assert loss.item() == pytest.approx((missed**2 if squared else missed).sum() / n, rel=1e-5, abs=1e-6)
    slope = 2 * missed if squared else missed > 0
    np.testing.assert_allclose(x.grad, -signs * slope / n, rtol=1e-5, atol=1e-6)


@settings(max_examples=60)
@given(st.integers(1, 5), st.integers(1, 4), st.sampled_from((0, 0.5, 1, 3)), st.booleans(), st.integers(0, 2**32))
def test_contrastive(build, n, channels, margin, legacy, seed):
    """Values and both gradients are the formula's; Caffe's gradient of a distance has 1e-4 in the divisor."""
    random = np.random.default_rng(seed)
    a, b = random.normal(size=(2, n, channels)).astype(np.float32)
    same = random.random(n) < 0.2
    b[same] = a[same]
    similar = random.choice([0, 1, 0.5, -1, 2], size=(n, 1, 1, 1))
    version = "true" if legacy else "false"
    text = f'type: "ContrastiveLoss" contrastive_loss_param {{ margin: {margin} legacy_version: {version} }}'
    x = torch.from_numpy(a).requires_grad_()
    y = torch.from_numpy(b).reshape(n, channels, 1, 1).requires_grad_()
    loss = build(text, x.shape, y.shape, similar.shape)(x, y, torch.from_numpy(similar).float())
    loss.backward()

    difference = (a - b).astype(float)
    distance = np.sqrt((difference**2).sum(1))
    together = np.trunc(similar.ravel()) != 0
    missed = np.maximum(margin - (distance**2 if legacy else distance), 0)
    losses = np.where(together, distance**2, missed if legacy else missed**2)
    assert loss.item() == pytest.approx(losses.sum() / (2 * n), rel=1e-4, abs=1e-6)
    pull = -1.0 * (missed > 0) if legacy else -missed / (distance + 1e-4)
    grad = np.where(together, 1, pull)[:, None] * difference / n
    np.testing.assert_allclose(x.grad, grad, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(y.grad.reshape(n, channels), -grad, rtol=1e-4, atol=1e-6)


def test_a_pair_that_coincides(build):
    """Two equal vectors that should lie apart get the gradient 0, not NaN."""
    a = torch.ones(1, 3, requires_grad=True)
    loss = build('type: "ContrastiveLoss"', (1, 3), (1, 3), (1,))(a, torch.ones(1, 3), torch.zeros(1))
    loss.backward()
    assert loss.item() == 0.5
    assert not a.grad.any()
