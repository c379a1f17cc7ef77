"""Sums and geometric means of scores."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import nets, scores

from netspec.ensemble import Rule, align, combine
from netspec.ensemble.align import part
from netspec.ensemble.rule import check_weights
from netspec.errors import DataError
from netspec.evaluation import top_accuracy
from netspec.scores import Scores

RULES = [Rule(), Rule("geometric"), Rule(scores="raw"), Rule(rank_cutoff=2)]
WEIGHTS = st.lists(st.floats(0.1, 10), min_size=3, max_size=3)


def test_a_sum_is_the_weighted_mean_of_distributions() -> None:
    """Weights 1 and 3 take a quarter of the first and three quarters of the second."""
    combined = combine([scores([[0.6, 0.4]]), scores([[0.2, 0.8]])], [1, 3], Rule())
    assert np.allclose(combined.scores, [[0.3, 0.7]])
    assert (combined.kind, combined.origin) == ("softmax", "ensemble")


def test_raw_scores_are_made_distributions() -> None:
    """A net whose raw scores are a hundred times another's does not outvote it."""
    loud, other, third = ([[0.0, 100.0]], [[2.0, 0.0]], [[2.0, 0.0]])
    members = [scores(rows, kind="raw") for rows in (loud, other, third)]
    assert combine(members, [1, 1, 1], Rule()).predictions[0] == 0
    assert combine(members, [1, 1, 1], Rule(scores="raw")).predictions[0] == 1


def test_a_sum_of_raw_scores_is_raw() -> None:
    """It is the weighted mean of what the files have."""
    combined = combine([scores([[-4, 2]], kind="raw"), scores([[0, 6]], kind="raw")], [1, 1], Rule(scores="raw"))
    assert combined.scores.tolist() == [[-2, 4]]
    assert combined.kind == "raw"


@pytest.mark.parametrize(("weights", "winner"), [((1, 1), 0), ((1, 1.1), 1), ((1.1, 1), 0)])
def test_weights_break_a_tie(weights: tuple[float, float], winner: int) -> None:
    """Two nets that contradict each other: the heavier is believed, with equal weights the lower class wins."""
    members = [scores([[0.8, 0.2]]), scores([[0.2, 0.8]])]
    assert combine(members, weights, Rule()).predictions[0] == winner


def test_a_rank_cutoff_changes_the_winner() -> None:
    """Class 2 is everybody's third and wins by sums; a net that gives it nothing leaves class 0 in front."""
    members = [
        scores([[0.40, 0.30, 0.29, 0.01]]),
        scores([[0.35, 0.01, 0.31, 0.33]]),
        scores([[0.01, 0.35, 0.30, 0.34]]),
    ]
    assert combine(members, [1, 1, 1], Rule()).predictions[0] == 2
    cut = combine(members, [1, 1, 1], Rule(rank_cutoff=2))
    assert np.allclose(cut.scores, np.array([[0.75, 0.65, 0, 0.67]]) / 2.07)
    assert cut.predictions[0] == 0


def test_a_rank_cutoff_keeps_equal_scores() -> None:
    """Classes as good as the last that counts do count."""
    cut = combine([scores([[0.5, 0.2, 0.2, 0.1]])], [1], Rule(rank_cutoff=2))
    assert np.allclose(cut.scores, np.array([[0.5, 0.2, 0.2, 0]]) / 0.9)


def test_a_rank_cutoff_beyond_the_classes_does_nothing() -> None:
    """There is nobody to cut."""
    members = nets([1, 2])
    assert np.allclose(
        combine(members, [1, 1], Rule(rank_cutoff=50)).scores, combine(members, [1, 1], Rule()).scores, atol=1e-7
    )


def test_a_geometric_mean_heeds_a_doubt_that_a_sum_does_not() -> None:
    """One net all but excludes class 0, of which the other is sure: sqrt(0.98 * 0.001) < sqrt(0.01 * 0.5)."""
    members = [scores([[0.98, 0.01, 0.01]]), scores([[0.001, 0.5, 0.499]])]
    assert combine(members, [1, 1], Rule()).predictions[0] == 0
    geometric = combine(members, [1, 1], Rule("geometric"))
    means = np.sqrt([0.98 * 0.001, 0.01 * 0.5, 0.01 * 0.499])
    assert np.allclose(geometric.scores, means / means.sum())
    assert geometric.predictions[0] == 1


def test_a_geometric_mean_of_nothing_is_a_number() -> None:
    """No probability counts as the smallest float32, so that all classes can be excluded by somebody."""
    geometric = combine([scores([[1, 0]]), scores([[0, 1]])], [2, 1], Rule("geometric"))
    least = np.finfo(np.float32).tiny ** (1 / 3)
    assert np.allclose(geometric.scores, [[1, least]], rtol=1e-4)


@pytest.mark.parametrize("rule", RULES, ids=repr)
def test_one_net_alone_is_itself(rule: Rule) -> None:
    """An ensemble of one predicts what it predicts, and without a cut-off its scores are the net's."""
    (net,) = nets([1])
    alone = combine([net], [7], rule)
    assert np.array_equal(alone.predictions, net.predictions)
    if rule.scores == "raw":
        assert np.array_equal(alone.scores, net.scores)
    elif rule.rank_cutoff is None:
        shares = np.exp(net.scores)
        assert np.allclose(alone.scores, shares / shares.sum(1, keepdims=True), rtol=1e-4)


@pytest.mark.parametrize("rule", RULES, ids=repr)
@given(st.permutations(range(3)), st.permutations(range(20)), WEIGHTS)
def test_the_order_of_nets_and_images_changes_nothing(
    rule: Rule, order: list[int], images: list[int], weights: list[float]
) -> None:
    """Weights move with their nets, and every image is scored for itself."""
    members = nets([1, 2, 1], images=20)
    straight = combine(members, weights, rule)
    turned = [part(members[number], np.array(images)) for number in order]
    mixed = combine(turned, [weights[number] for number in order], rule)
    assert np.allclose(mixed.scores, straight.scores[images], rtol=1e-5, atol=1e-6)
    assert mixed.keys == tuple(straight.keys[image] for image in images)


@pytest.mark.parametrize("rule", RULES, ids=repr)
@given(WEIGHTS, st.floats(0.01, 100))
def test_only_the_ratio_of_weights_counts(rule: Rule, weights: list[float], scale: float) -> None:
    """All weights times a number are the same weights."""
    members = nets([1, 2, 1], images=20)
    scaled = combine(members, [scale * weight for weight in weights], rule)
    assert np.allclose(scaled.scores, combine(members, weights, rule).scores, rtol=1e-5, atol=1e-6)


def test_a_weight_of_0_takes_a_net_out() -> None:
    """It is as if its file had not been given."""
    first, second, third = nets([1, 2, 1])
    without = combine([first, third], [1, 1], Rule())
    assert np.array_equal(combine([first, second, third], [1, 0, 1], Rule()).scores, without.scores)


def test_an_ensemble_beats_its_best_net() -> None:
    """Three nets that err independently are better together, in the first place and among the best five."""
    members = align(nets([1.5, 1.5, 1.5], images=1000, classes=20))
    combined = combine(members, [1, 1, 1], Rule())
    for count in (1, 5):
        best = max(top_accuracy(member, count).hits for member in members)
        assert top_accuracy(combined, count).hits > best + 50


WRONG_RULES = [
    ({"method": "median"}, 'method "median" is none of sum, geometric, naive-bayes, dawid-skene'),
    ({"scores": "logits"}, 'scores "logits" are none of raw, softmax'),
    ({"method": "geometric", "scores": "raw"}, "only a sum can be one of raw scores, not geometric"),
    ({"method": "geometric", "rank_cutoff": 3}, "a rank cut-off needs a sum of softmax scores"),
    ({"scores": "raw", "rank_cutoff": 3}, "a rank cut-off needs a sum of softmax scores"),
    ({"rank_cutoff": 0}, "the rank cut-off is 0: it must leave one class or more"),
    ({"smoothing": 0.0}, "the smoothing is 0: it must be above 0"),
    ({"smoothing": float("nan")}, "the smoothing is nan: it must be above 0"),
]


@pytest.mark.parametrize(("fields", "message"), WRONG_RULES, ids=[message for _, message in WRONG_RULES])
def test_a_rule_that_means_nothing_is_refused(fields: dict[str, object], message: str) -> None:
    """The message says what does not go together."""
    with pytest.raises(DataError, match=message):
        Rule(**fields)  # type: ignore[arg-type]


WRONG_WEIGHTS = [
    ((1, 2), "2 weights for 3 score files"),
    ((1, -2, 1), "the weight -2 is none: weights are 0 or above"),
    ((1, float("nan"), 1), "the weight nan is none"),
    ((1, float("inf"), 1), "the weight inf is none"),
    ((0, 0, 0), "the weights are all 0"),
]


@pytest.mark.parametrize(("weights", "message"), WRONG_WEIGHTS, ids=[message for _, message in WRONG_WEIGHTS])
def test_wrong_weights_are_refused(weights: tuple[float, ...], message: str) -> None:
    """There is one for each net, none is negative, and not all are 0."""
    with pytest.raises(DataError, match=message):
        check_weights(weights, 3)


def test_a_sum_of_raw_scores_has_no_softmax_scores() -> None:
    """The message names the file; the sum of softmax scores takes both."""
    mixed: list[Scores] = [scores([[3, 1]], kind="raw"), scores([[0.1, 0.9]], name="b.npz")]
    with pytest.raises(DataError, match=r"b\.npz: these are softmax scores: a sum of raw ones cannot have them"):
        combine(mixed, [1, 1], Rule(scores="raw"))
    assert combine(mixed, [1, 1], Rule()).kind == "softmax"
