"""Recipes and their files."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from planted import nets, scores

from netspec.ensemble import Learner, Recipe, Rule, load_recipe
from netspec.errors import DataError, SnapshotError

RULES = [Rule(), Rule("geometric"), Rule(scores="raw"), Rule(rank_cutoff=3), Rule("naive-bayes", smoothing=2.5)]


@pytest.mark.parametrize("rule", [*RULES, Rule("dawid-skene")], ids=repr)
def test_a_recipe_is_read_as_it_was_written(rule: Rule, tmp_path: Path) -> None:
    """What it makes of scores is the same to the last bit."""
    recipe = replace(Learner(rule).learn(nets([1, 2, 1.5])), nets=("x", "", "z"))
    recipe.save(tmp_path / "recipe.json")
    read = load_recipe(tmp_path / "recipe.json")
    assert (read.rule, read.names, read.weights) == (recipe.rule, recipe.names, recipe.weights)
    assert read.nets == recipe.nets
    others = nets([1, 2, 1.5], seed=9, labelled=False)
    assert np.array_equal(read.combined(others).scores, recipe.combined(others).scores)


def test_the_chosen_are_those_with_a_weight() -> None:
    """A net that the search has left out need not be run on other images."""
    recipe = Recipe(Rule(), ("a", "b", "c"), (3, 0, 1), nets=("x", "y", "z"))
    assert (recipe.chosen().names, recipe.chosen().weights) == (("a", "c"), (0.75, 0.25))
    assert recipe.chosen().nets == ("x", "z")
    first, second, third = nets([1, 2, 1])
    chosen = recipe.chosen().combined([first, third])
    assert np.array_equal(chosen.scores, recipe.combined([first, second, third]).scores)


def test_a_recipe_for_other_scores_is_refused() -> None:
    """As many files as it was learned from, and where it has confusion matrices, for as many classes."""
    recipe = Learner(Rule("naive-bayes")).learn(nets([1, 2]))
    with pytest.raises(DataError, match=r"3 score files, but the recipe is for 2: net0\.npz, net1\.npz"):
        recipe.combined(nets([1, 2, 3]))
    with pytest.raises(DataError, match=r"net0\.npz: 7 classes, but the recipe is for 10"):
        recipe.combined(nets([1, 2], classes=7))


WRONG = [
    ({"weights": [1]}, "1 weights for 2 score files"),
    ({"weights": [1, -1]}, "the weight -1 is none: weights are 0 or above"),
    ({"weights": ["much", 1]}, "the recipe cannot be read: could not convert string to float: 'much'"),
    ({"method": "median"}, 'rule of an ensemble: method "median" is none of'),
    ({"method": "naive-bayes", "weights": []}, "naive-bayes needs the confusion matrix of each net"),
    ({"method": "naive-bayes"}, "naive-bayes takes no weights: it learns how good each net is"),
    ({"confusions": [[[1, 0], [0, 1]]]}, r"confusion matrices (1, 2, 2) for 2 nets"),
    ({"confusions": [[[1, 0, 0], [0, 1, 0]]] * 2}, r"confusion matrices (2, 2, 3) for 2 nets"),
    ({"confusions": [[1, 0], [0, 1]]}, r"confusion matrices (2, 2) for 2 nets"),
    ({"confusions": [[1, 0], [0]]}, "the recipe cannot be read: "),
    ({"rank_cutoff": "5"}, "the recipe cannot be read: "),
    ({"score_files": None}, "the recipe cannot be read: "),
]


@pytest.mark.parametrize(("change", "message"), WRONG, ids=[message for _, message in WRONG])
def test_a_wrong_recipe_is_refused(change: dict[str, object], message: str, tmp_path: Path) -> None:
    """The message names the file and what is wrong in it."""
    path = tmp_path / "recipe.json"
    Recipe(Rule(), ("a", "b"), (1, 1)).save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError) as caught:
        load_recipe(path)
    assert str(caught.value).startswith(f"{path}: {message}")


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "\0", '{"weights": [1]}', "\N{PILE OF POO}" * 3])
def test_what_is_no_recipe_is_refused(text: str, tmp_path: Path) -> None:
    """Any other text gets a message too."""
    path = tmp_path / "recipe.json"
    path.write_text(text)
    with pytest.raises(DataError, match="recipe"):
        load_recipe(path)


def test_a_missing_recipe_is_refused(tmp_path: Path) -> None:
    """The message has the path."""
    with pytest.raises(SnapshotError, match=r"recipe\.json: there is no such file"):
        load_recipe(tmp_path / "recipe.json")


def test_a_single_file_can_have_a_recipe() -> None:
    """A recipe of one net is the net."""
    net = scores([[0.3, 0.7]])
    assert np.allclose(Recipe(Rule(), ("a",), (5,)).combined([net]).scores, net.scores)
