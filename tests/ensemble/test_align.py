"""Scores of the same images, brought into one order."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from planted import nets, scores

from netspec.ensemble import align
from netspec.ensemble.align import part
from netspec.errors import DataError
from netspec.scores import Scores

ROWS = [[0.5, 0.5], [0.2, 0.8], [0.9, 0.1]]


@given(st.permutations(range(6)))
def test_images_come_into_the_order_of_the_first(order: list[int]) -> None:
    """Scores and labels follow their keys."""
    first, second = nets([1, 2], images=6)
    shuffled = part(second, np.array(order))
    aligned = align([first, shuffled])[1]
    assert aligned.keys == first.keys
    assert np.array_equal(aligned.scores, second.scores)
    assert np.array_equal(aligned.labels, second.labels)


def test_labels_and_names_of_one_file_are_those_of_all() -> None:
    """It is enough that one file has the labels, and one the names of the classes."""
    plain, labelled = scores(ROWS), scores(ROWS, [0, 1, 1], classes=("cat", "dog"))
    for member in align([plain, labelled]):
        assert member.labels is not None
        assert member.labels.tolist() == [0, 1, 1]
        assert member.classes == ("cat", "dog")


def test_repeated_keys_are_fine_in_one_order() -> None:
    """Where all files have the same keys in the same order nothing needs to be found."""
    keys = ("x.png", "x.png", "y.png")
    assert len(align([scores(ROWS, keys=keys), scores(ROWS, keys=keys)])) == 2


B = "b.npz"
WRONG = [
    (scores([[1, 0, 0]] * 3, name=B), "b.npz: scores for 3 classes, but a.npz has them for 2"),
    (scores(ROWS, name=B, classes=("cat", "owl")), 'b.npz: class 1 is "owl", but in a.npz it is "dog"'),
    (scores(ROWS[:2], name=B), "b.npz: no scores of 2.png, which a.npz has"),
    (scores(ROWS[:1], name=B), "b.npz: no scores of 1.png and 1 more, which a.npz has"),
    (scores([*ROWS, ROWS[0]], name=B), "a.npz: no scores of 3.png, which b.npz has"),
    (
        scores([*ROWS, ROWS[0]], name=B, keys=("1.png", "0.png", "2.png", "0.png")),
        "b.npz: 0.png is there 2 times, so its order of images is not known",
    ),
    (scores(ROWS, [0, 0, 1], name=B), "b.npz: the label of 1.png is 0, but 1 in a.npz"),
]


@pytest.mark.parametrize(("other", "message"), WRONG, ids=[message[:40] for _, message in WRONG])
def test_other_images_or_classes_are_refused(other: Scores, message: str) -> None:
    """The message names the file and the first difference."""
    first = scores(ROWS, [0, 1, 1], classes=("cat", "dog"))
    with pytest.raises(DataError) as caught:
        align([first, other])
    assert str(caught.value) == message


def test_labels_are_compared_image_by_image() -> None:
    """Labels in another order are not wrong where the images are in that order too."""
    first = scores(ROWS, [0, 1, 1])
    turned = part(replace(first, origin=B), np.array([2, 1, 0]))
    assert align([first, turned])[1].labels.tolist() == [0, 1, 1]  # type: ignore[union-attr]
