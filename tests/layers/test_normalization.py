"""LRN and BatchNorm: what the recordings leave out."""

import pytest
import torch
import torch.nn.functional as F


def batch_norm(build, x, fields="", phase="TRAIN"):
    return build(f'type: "BatchNorm" batch_norm_param {{ {fields} }}', tuple(x.shape), phase=phase)


def test_lrn_is_pytorch(build):
    """Across channels LRN is PyTorch's, also with more neighbours than channels."""
    x = torch.randn(2, 4, 3, 3)
    layer = build('type: "LRN" lrn_param { local_size: 11 alpha: 2 beta: 0.6 k: 3 }', tuple(x.shape))
    torch.testing.assert_close(layer(x), F.local_response_norm(x, 11, 2, 0.6, 3))


def test_lrn_within_ignores_k(build):
    """Within channels LRN ignores k."""
    x = torch.randn(2, 4, 3, 3)
    text = 'type: "LRN" lrn_param { norm_region: WITHIN_CHANNEL k: %d }'
    torch.testing.assert_close(build(text % 2, tuple(x.shape))(x), build(text % 1, tuple(x.shape))(x), rtol=0, atol=0)


def test_statistics_in_testing(build):
    """After training on batches, testing uses the weighted mean of their means and unbiased variances."""
    batches = torch.randn(3, 8, 2, 4, 4) * 3 + 1
    layer = batch_norm(build, batches[0], "moving_average_fraction: 0.5")
    for x in batches:
        layer(x)
    weights = torch.tensor([0.25, 0.5, 1]) / 1.75
    values = batches.movedim(2, 1).flatten(2)
    mean, variance = weights @ values.mean(2), weights @ values.var(2)
    expected = (batches[0] - mean[:, None, None]) / (variance[:, None, None] + 1e-5).sqrt()
    torch.testing.assert_close(layer.eval()(batches[0]), expected)


def test_untrained(build):
    """Without statistics testing divides by sqrt(eps): 3 becomes 948.683."""
    x = torch.full((2, 3), 3.0)
    torch.testing.assert_close(batch_norm(build, x, phase="TEST")(x), torch.full((2, 3), 948.683))


def test_own_batch_in_testing(build):
    """use_global_stats: false takes the batch's statistics in testing too, and updates the blobs."""
    x = torch.randn(8, 3)
    layer = batch_norm(build, x, "use_global_stats: false", phase="TEST")
    torch.testing.assert_close(layer(x), F.batch_norm(x, None, None, training=True))
    assert layer.factor.item() == 1


def test_bottom_of_one_axis(build):
    """A bottom of one axis is one channel."""
    x = torch.randn(8)
    layer = batch_norm(build, x)
    torch.testing.assert_close(layer(x), F.batch_norm(x[:, None], None, None, training=True)[:, 0])
    assert layer.mean.shape == (1,)


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1, 1)])
def test_one_value_a_channel(build, shape):
    """One value a channel is normalised to 0 with gradient 0 and counts as a mean of no variance, as in Caffe."""
    x = torch.randn(shape, requires_grad=True)
    layer = batch_norm(build, x)
    y = layer(x)
    y.sum().backward()
    assert not y.any()
    assert not x.grad.any()
    torch.testing.assert_close(layer.mean, x.detach().flatten())
    assert not layer.variance.any()


def test_eps_zero(build):
    """With eps 0 training divides by the deviation itself, and values that are all equal give NaN, as in Caffe."""
    x = torch.randn(4, 2, 3, 3, requires_grad=True)
    layer = batch_norm(build, x, "eps: 0")
    variance, mean = torch.var_mean(x, (0, 2, 3), correction=0, keepdim=True)
    expected = (x - mean) / variance.sqrt()
    y = layer(x)
    torch.testing.assert_close(y, expected)
    grad = torch.randn_like(x)
    for ours, theirs in zip(torch.autograd.grad(y, x, grad), torch.autograd.grad(expected, x, grad), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert layer(torch.ones(4, 2, 3, 3)).isnan().all()
    torch.testing.assert_close(layer.eval()(x).isnan(), torch.zeros(x.shape, dtype=torch.bool))


def test_three_param_blocks(build):
    """Files that give all three blobs a `param` without lr_mult 0 are accepted: they never meant to learn them."""
    assert build('type: "BatchNorm" param {} param {} param {}', (2, 3)).blob_names == ["mean", "variance", "factor"]


def test_state_is_not_learnable(build):
    """The statistics are buffers: no solver sees them."""
    layer = batch_norm(build, torch.randn(2, 3))
    assert not list(layer.parameters())
    assert len(layer.blobs()) == 3
