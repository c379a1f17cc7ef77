"""Merging of predictions by confusion matrices."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import nets, scores, votes

from netspec.ensemble import Rule, combine, dawid_skene, naive_bayes
from netspec.ensemble.align import part
from netspec.evaluation import accuracy, confusion

PLANTED = np.array(
    [
        [[0.90, 0.05, 0.05], [0.05, 0.90, 0.05], [0.05, 0.80, 0.15]],
        [[0.20, 0.75, 0.05], [0.10, 0.80, 0.10], [0.05, 0.05, 0.90]],
        [[0.85, 0.05, 0.10], [0.70, 0.25, 0.05], [0.02, 0.03, 0.95]],
        [[0.80, 0.15, 0.05], [0.10, 0.70, 0.20], [0.25, 0.05, 0.70]],
    ]
)
"""The first takes most of class 2 for 1, the second most of 0 for 1, the third most of 1 for 0."""


def test_naive_bayes_is_bayes_rule() -> None:
    """Two classes and two nets by hand: 0.5 * 0.9 * 0.4 against 0.5 * 0.2 * 0.7 for what both take for class 0."""
    counts = np.array([[[9000, 1000], [2000, 8000]], [[4000, 6000], [7000, 3000]]])
    members = [scores([[1, 0]]), scores([[1, 0]])]
    combined = naive_bayes(members, counts, 1e-6)
    right, wrong = 0.9 * 0.4, 0.2 * 0.7
    assert np.allclose(combined.scores, np.array([[right, wrong]]) / (right + wrong), atol=1e-4)


def test_naive_bayes_knows_how_frequent_classes_are() -> None:
    """Of a net that tells nothing the more frequent class is predicted."""
    counts = np.array([[[10, 10], [40, 40]]])
    combined = naive_bayes([scores([[0.51, 0.49]])], counts, 1e-6)
    assert np.allclose(combined.scores, [[0.2, 0.8]], atol=1e-3)


def test_a_net_that_is_always_wrong_is_understood() -> None:
    """Who takes each class for another tells as much as who is right."""
    counts = np.array([[[0, 50], [50, 0]]])
    assert naive_bayes([scores([[1, 0], [0, 1]])], counts, 1.0).predictions.tolist() == [1, 0]


def test_smoothing_is_even_and_as_good_as_the_net() -> None:
    """Rows of many more images are those of a net that is right in (3 + 1) / (4 + 2) and errs evenly."""
    counts = np.array([[[3, 1, 0], [0, 0, 0], [0, 0, 0]]])
    combined = naive_bayes([scores(np.eye(3))], counts, 1e9)
    assert np.allclose(combined.scores, np.full((3, 3), 1 / 6) + np.eye(3) / 2, atol=1e-4)


def test_naive_bayes_beats_the_vote_where_nets_confuse() -> None:
    """The nets' habits are worth more than their votes."""
    random = np.random.default_rng(1)
    known, new = random.integers(0, 3, 500), random.integers(0, 3, 2000)
    counts = np.stack([confusion(member).counts for member in votes(PLANTED, known, 2)])
    members = votes(PLANTED, new, 3)
    vote = combine(members, [1] * 4, Rule())
    assert accuracy(naive_bayes(members, counts, 1.0)).value > accuracy(vote).value + 0.05


def test_em_finds_planted_confusions() -> None:
    """Without one label the confusion matrices come out as planted, and the classes better than by vote."""
    labels = np.random.default_rng(4).integers(0, 3, 6000)
    members = votes(PLANTED, labels, 5)
    combined, found = dawid_skene([*votes(PLANTED, labels, 5, labelled=False)], None, 0.01)
    assert np.abs(found - PLANTED).max() < 0.07
    assert (combined.predictions == labels).mean() > accuracy(combine(members, [1] * 4, Rule())).value + 0.05


def test_em_goes_on_from_known_confusions() -> None:
    """Confusion matrices of a few labelled images make what EM finds closer, and are kept as images more."""
    random = np.random.default_rng(6)
    known, new = random.integers(0, 3, 300), random.integers(0, 3, 300)
    counts = np.stack([confusion(member).counts for member in votes(PLANTED, known, 7)])
    members = votes(PLANTED, new, 8, labelled=False)
    alone, started = (dawid_skene(members, start, 1.0) for start in (None, counts))
    assert np.abs(started[1] - PLANTED).mean() < np.abs(alone[1] - PLANTED).mean()
    many = dawid_skene(members, 10**6 * counts, 1.0)[1]
    assert np.allclose(many, counts / counts.sum(2, keepdims=True), atol=1e-3)


def test_em_starts_from_known_confusions() -> None:
    """Nets that take every class for the next one are understood by a few labelled images, where votes and EM without
    them are wrong in all."""
    random = np.random.default_rng(9)
    confusions = np.stack([np.roll(0.85 * np.eye(3) + 0.05, 1, axis=1)] * 3)
    known, new = random.integers(0, 3, 30), random.integers(0, 3, 2000)
    counts = np.stack([confusion(member).counts for member in votes(confusions, known, 10)])
    members = votes(confusions, new, 11)
    alone, started = (dawid_skene(members, start, 1.0)[0] for start in (None, counts))
    assert accuracy(alone).value < 0.05
    assert accuracy(started).value > 0.95


def test_the_scores_tell_apart_what_votes_leave_equal() -> None:
    """Two nets of equal worth contradict each other: the surer one is believed."""
    counts = np.array([[[8, 2], [2, 8]]] * 2)
    members = [scores([[0.6, 0.4], [0.9, 0.1]]), scores([[0.1, 0.9], [0.4, 0.6]])]
    assert naive_bayes(members, counts, 1.0).predictions.tolist() == [1, 0]


@pytest.mark.parametrize("known", [True, False])
@given(st.permutations(range(3)), st.permutations(range(30)))
def test_the_order_of_nets_and_images_does_not_matter(known: bool, order: list[int], images: list[int]) -> None:
    """Confusion matrices move with their nets."""
    members = nets([2, 1, 1.5], images=30, classes=3)
    counts = np.stack([confusion(member).counts for member in members])
    straight = dawid_skene(members, counts if known else None, 5.0)[0]
    turned = [part(members[number], np.array(images)) for number in order]
    mixed = dawid_skene(turned, counts[order] if known else None, 5.0)[0]
    assert np.allclose(mixed.scores, straight.scores[images], atol=1e-5)


def test_one_good_net_alone_is_itself() -> None:
    """A net that takes each class for itself most often keeps its predictions."""
    (net,) = nets([3], images=600, classes=5)
    counts = confusion(net).counts[None]
    assert np.array_equal(naive_bayes([net], counts, 20.0).predictions, net.predictions)
    assert np.array_equal(dawid_skene([net], None, 20.0)[0].predictions, net.predictions)
