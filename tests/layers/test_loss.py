"""Losses: the cap, the normalisation, the labels' shapes."""

import pytest
import torch
import torch.nn.functional as F

CAP = 87.3365478515625
SOFTMAX = 'type: "SoftmaxWithLoss" top: "y"'


def test_cap(build):
    """An item's loss is at most 87.3365, and its gradient stays p - onehot."""
    scores = torch.tensor([[0.0, 1e4], [0.0, 0.0]], requires_grad=True)
    loss = build(SOFTMAX + "loss_param { normalization: NONE }", (2, 2), (2,))(scores, torch.zeros(2))
    assert loss.item() == pytest.approx(CAP + 0.693147, rel=1e-6)
    loss.backward()
    torch.testing.assert_close(scores.grad, torch.tensor([[-1.0, 1.0], [-0.5, 0.5]]))


@pytest.mark.parametrize("far", [1e30, 3e38])
def test_cap_of_a_diverged_net(build, far):
    """However far the scores, the loss is the cap and the gradient is finite."""
    scores = torch.tensor([[-far, far]], requires_grad=True)
    loss = build(SOFTMAX, (1, 2), (1,))(scores, torch.zeros(1))
    assert loss.item() == pytest.approx(CAP, rel=1e-6)
    loss.backward()
    assert scores.grad.tolist() == [[-1, 1]]


def test_nan_scores(build):
    """A NaN score gives a NaN loss: the cap does not hide it."""
    scores = torch.tensor([[0.0, torch.nan]])
    assert build(SOFTMAX, (1, 2), (1,))(scores, torch.zeros(1)).isnan()


@pytest.mark.parametrize("shape", [(6,), (6, 1), (6, 1, 1, 1)])
def test_is_cross_entropy(build, shape):
    """Below the cap the loss and its gradient are PyTorch's, for labels of any shape with one an item."""
    scores, labels = torch.randn(6, 5, requires_grad=True), torch.randint(5, shape).float()
    loss = build(SOFTMAX, (6, 5), shape)(scores, labels)
    expected = F.cross_entropy(scores, labels.flatten().long())
    torch.testing.assert_close(loss, expected)
    for ours, theirs in zip(torch.autograd.grad(loss, scores), torch.autograd.grad(expected, scores), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_axis(build, axis):
    """The classes may lie on any axis, and `classes` is how many there are."""
    scores = torch.randn(3, 4, 5)
    classes = scores.shape[axis]
    labels = torch.randint(classes, (60 // classes,)).float()
    layer = build(f"{SOFTMAX} softmax_param {{ axis: {axis} }}", scores.shape, labels.shape)
    expected = F.cross_entropy(scores.movedim(axis, -1).reshape(-1, classes), labels.long())
    torch.testing.assert_close(layer(scores, labels), expected)
    assert layer.classes == classes


@pytest.mark.parametrize(
    ("loss_param", "normalizer"),
    [
        ("", 12),
        ("ignore_label: 1", 8),
        ("ignore_label: 1 normalization: VALID", 8),
        ("ignore_label: 1 normalization: FULL", 12),
        ("ignore_label: 1 normalization: BATCH_SIZE", 2),
        ("ignore_label: 1 normalization: NONE", 1),
        ("ignore_label: 1 normalize: false", 2),
        ("ignore_label: 1 normalize: true", 8),
        ("ignore_label: 1 normalize: true normalization: FULL", 12),
    ],
)
def test_normalization(build, loss_param, normalizer):
    """The sum over the items that count is divided by what `loss_param` names."""
    scores, labels = torch.randn(2, 3, 6), torch.arange(12).reshape(2, 6) % 3
    losses = F.cross_entropy(scores, labels, reduction="none")
    total = losses[labels != 1].sum() if "ignore" in loss_param else losses.sum()
    layer = build(f"{SOFTMAX} loss_param {{ {loss_param} }}", (2, 3, 6), (2, 6))
    torch.testing.assert_close(layer(scores, labels.float()), total / normalizer)


def test_all_ignored(build):
    """With every label ignored the loss and the gradient are 0, not NaN; the ignored label need not be a class."""
    scores = torch.randn(4, 3, requires_grad=True)
    loss = build(SOFTMAX + "loss_param { ignore_label: 255 }", (4, 3), (4,))(scores, torch.full((4,), 255.0))
    loss.backward()
    assert loss.item() == 0
    assert not scores.grad.any()


def test_probabilities(build):
    """A second top holds the probabilities and passes no gradient."""
    scores = torch.randn(4, 3, requires_grad=True)
    loss, probabilities = build(SOFTMAX + 'top: "p"', (4, 3), (4,))(scores, torch.zeros(4))
    torch.testing.assert_close(probabilities, scores.detach().softmax(1))
    assert loss.requires_grad
    assert not probabilities.requires_grad


def test_euclidean_shapes(build):
    """The bottoms of EuclideanLoss need only the first axis and the count in common; N is the batch at hand."""
    layer = build('type: "EuclideanLoss"', (2, 1, 3), (2, 3))
    a, b = torch.randn(5, 1, 3), torch.randn(5, 3)
    torch.testing.assert_close(layer(a, b), (a[:, 0] - b).square().sum() / 10)
