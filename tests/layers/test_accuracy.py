"""Accuracy: ties, NaN, ignored labels, classes, labels that are shares."""

import math

import pytest
import torch

ACCURACY = 'type: "Accuracy" top: "y"'


@pytest.mark.parametrize(("top_k", "share"), [(1, 0), (2, 0), (3, 1)])
def test_ties_count_against(build, top_k, share):
    """Constant scores are right only where top_k takes all classes."""
    layer = build(f"{ACCURACY} accuracy_param {{ top_k: {top_k} }}", (4, 3), (4,))
    assert layer(torch.ones(4, 3), torch.zeros(4)).item() == share


def test_nan(build):
    """One NaN among the scores makes accuracy NaN, in all and for each class."""
    scores = torch.eye(3)
    scores[2, 0] = torch.nan
    share, by_class = build(ACCURACY + 'top: "c"', (3, 3), (3,))(scores, torch.arange(3.0))
    assert math.isnan(share.item())
    assert by_class.isnan().all()


def test_infinite_scores(build):
    """Infinite scores are numbers like others."""
    layer = build(ACCURACY, (2, 2), (2,))
    assert layer(torch.tensor([[math.inf, -math.inf], [0, math.inf]]), torch.zeros(2)).item() == 0.5


def test_ignored_label_need_not_be_a_class(build):
    """Items with the ignored label do not count; without any other the accuracy is 0."""
    layer = build(ACCURACY + "accuracy_param { ignore_label: 255 }", (4, 2), (4,))
    scores = torch.tensor([[1.0, 0]] * 4)
    assert layer(scores, torch.tensor([0.0, 255, 1, 255])).item() == 0.5
    assert layer(scores, torch.full((4,), 255.0)).item() == 0


@pytest.mark.parametrize("axis", [1, -1])
def test_brute_force(build, axis):
    """Over any axis the shares are those of a loop over the items, for each class too."""
    scores = torch.randn(3, 4, 4)
    labels = torch.randint(4, (3, 4))
    layer = build(f'{ACCURACY} top: "c" accuracy_param {{ top_k: 2 axis: {axis} }}', (3, 4, 4), (3, 4))
    hits, counts = [0] * 4, [0] * 4
    for row, label in zip(scores.movedim(axis, -1).reshape(-1, 4).tolist(), labels.flatten().tolist(), strict=True):
        hits[label] += sorted(row, reverse=True).index(row[label]) < 2
        counts[label] += 1
    share, by_class = layer(scores, labels.float())
    assert share.item() == pytest.approx(sum(hits) / 12)
    assert by_class.tolist() == pytest.approx([h / max(n, 1) for h, n in zip(hits, counts, strict=True)])
    assert layer.classes == 4


@pytest.mark.parametrize(("scores", "shares"), [((3, 4, 2), (3, 4, 2)), ((3, 4, 1, 1), (3, 4))])
def test_the_largest_share_is_the_label(build, scores, shares):
    """Of labels that are shares the class of the largest counts."""
    x, mixed = torch.randn(scores), torch.rand(shares)
    labels = mixed.argmax(1)
    ours = build(f'{ACCURACY} top: "c"', scores, shares)(x, mixed)
    theirs = build(f'{ACCURACY} top: "c"', scores, tuple(labels.shape))(x, labels.float())
    assert all(map(torch.equal, ours, theirs))


def test_equal_shares(build):
    """Of equal shares the lowest class counts."""
    layer = build(ACCURACY, (2, 3), (2, 3))
    shares = torch.tensor([[0, 0.5, 0.5], [0.5, 0, 0.5]])
    assert layer(torch.tensor([[0.0, 9, 1], [0, 1, 9]]), shares).item() == 0.5
