"""Predicted classes whose counts come out as wanted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import nets, scores

from netspec.ensemble import balance
from netspec.ensemble.align import part
from netspec.errors import DataError
from netspec.evaluation import accuracy
from netspec.scores import Scores


def counts(balanced: Scores) -> list[int]:
    """How many images are predicted to be of each class."""
    return np.bincount(balanced.predictions, minlength=balanced.scores.shape[1]).tolist()


def leaning(images: int = 300) -> Scores:
    """Scores of evenly many images of five classes by a net that is fond of the low ones."""
    (net,) = nets([1.5], images=images, classes=5)
    return Scores(net.scores + np.float32([3, 2, 0, 0, -2]), net.keys, net.labels)


def test_the_near_tie_moves() -> None:
    """Of three images for class 0 the one that is least sure goes to class 1."""
    balanced = balance(scores([[0.9, 0.1], [0.552, 0.448], [0.55, 0.45], [0.3, 0.7]]))
    assert balanced.predictions.tolist() == [0, 0, 1, 1]
    assert np.allclose(balanced.scores.sum(1), 1)


def test_counts_come_out_even_and_predictions_better() -> None:
    """The counts are hit, and as they are the true ones more predictions are right."""
    net = leaning()
    assert min(counts(net)) < 30 < 100 < max(counts(net))
    balanced = balance(net)
    assert counts(balanced) == [60] * 5
    assert accuracy(balanced).hits >= accuracy(net).hits + 10


@given(st.lists(st.integers(0, 40), min_size=5, max_size=5).filter(any))
def test_given_counts_are_hit(wanted: list[int]) -> None:
    """Counts with the right sum are hit to the image, others in proportion to within one."""
    net = leaning(100)
    amounts = 100 * np.array(wanted) / sum(wanted)
    found = np.array(counts(balance(net, wanted)))
    assert (np.abs(found - amounts) < 1).all()
    assert found.sum() == 100


def test_classes_that_are_never_predicted_are_told(caplog: pytest.LogCaptureFixture) -> None:
    """A net that was trained on a part of its classes gets images in all of them, unless counts are given."""
    net = scores(np.eye(5)[[0, 1] * 5])
    with caplog.at_level("WARNING", "netspec"):
        balance(net, [5, 5, 0, 0, 0])
        balance(leaning())
        assert not caplog.records
        assert counts(balance(net)) == [2] * 5
    assert "a.npz: no image is predicted to be of 3 of the 5 classes, which get as many as the others" in caplog.text


def test_counts_that_do_not_divide_are_even_to_one() -> None:
    """The images that are left over go to one class each."""
    assert sorted(counts(balance(leaning(103)))) == [20, 20, 21, 21, 21]


def test_half_the_strength_goes_half_the_way() -> None:
    """With 0 nothing changes, with 0.5 each count is in the middle."""
    net = leaning()
    assert balance(net, strength=0) is net
    halfway = np.array(counts(balance(net, strength=0.5)))
    assert (np.abs(halfway - (np.array(counts(net)) + 60) / 2) < 1).all()


def test_equal_scores_go_where_there_is_room() -> None:
    """A net that knows nothing spreads its predictions evenly."""
    assert counts(balance(scores(np.full((12, 4), 0.25)))) == [3, 3, 3, 3]


def test_what_has_no_probability_moves_last() -> None:
    """An image goes to a class that it all but excludes only where all others are worse."""
    balanced = balance(scores([[1, 0], [1, 0], [1 - 1e-6, 1e-6], [1, 0]]), [3, 1])
    assert balanced.predictions.tolist() == [0, 0, 1, 0]


@pytest.mark.parametrize("kind", ["raw", "softmax"])
@pytest.mark.parametrize("size", [1e3, 1e12, 3e38])
def test_scores_may_be_of_any_size(size: float, kind: str) -> None:
    """A net that is sure beyond measure is balanced as others are."""
    rows = np.float32([[size, 0, 0]] * 6) if kind == "raw" else np.eye(3)[[0] * 6]
    assert counts(balance(scores(rows, kind=kind))) == [2, 2, 2]


@given(st.permutations(range(50)))
def test_the_order_of_images_does_not_matter(order: list[int]) -> None:
    """Each image has the same prediction in any order."""
    net = leaning(50)
    straight = balance(net)
    assert np.array_equal(balance(part(net, np.array(order))).predictions, straight.predictions[order])


WRONG = [
    ({"strength": 1.5}, "the strength of the balancing is 1.5: it goes from 0 to 1"),
    ({"strength": float("nan")}, "the strength of the balancing is nan"),
    ({"proportions": [1, 2]}, "a.npz: 2 counts for 3 classes"),
    ({"proportions": [1, -1, 1]}, "the counts of the classes must be 0 or above, and not all 0"),
    ({"proportions": [0, 0, 0]}, "the counts of the classes must be 0 or above, and not all 0"),
    ({"proportions": [1, float("inf"), 1]}, "the counts of the classes must be 0 or above"),
]


@pytest.mark.parametrize(("options", "message"), WRONG, ids=[message for _, message in WRONG])
def test_counts_that_cannot_be_hit_are_refused(options: dict[str, object], message: str) -> None:
    """The message says what is wrong with them."""
    with pytest.raises(DataError, match=message):
        balance(scores(np.eye(3)), **options)  # type: ignore[arg-type]
