"""Recipes that are learned, and what they are worth on held-out images."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from planted import nets, scores, votes

from netspec.ensemble import Learner, Recipe, Rule, check_validation
from netspec.ensemble.align import part
from netspec.ensemble.folds import folds
from netspec.ensemble.search import MOST_FOR_SUBSETS
from netspec.errors import DataError
from netspec.evaluation import accuracy
from netspec.scores import Scores

LEARNERS = [
    Learner(Rule(), "accuracy"),
    Learner(Rule(), "greedy"),
    Learner(Rule("geometric"), "subsets"),
    Learner(Rule("naive-bayes")),
]


def test_weights_are_accuracies() -> None:
    """A net that is right in 3 of 4 images has three times the weight of one that is right in 1."""
    labels = [0, 1, 0, 1]
    good, bad = scores([[1, 0], [0, 1], [1, 0], [1, 0]], labels), scores([[0, 1], [1, 0], [0, 1], [0, 1]], labels)
    assert Learner(Rule(), "accuracy").learn([good, bad]).weights == (0.75, 0.25)
    assert Learner(Rule()).learn([good, bad]).weights == (0.5, 0.5)


@pytest.mark.parametrize("how", ["greedy", "subsets"])
@pytest.mark.parametrize("seed", range(4))
def test_a_net_that_knows_nothing_is_not_chosen(how: str, seed: int) -> None:
    """Two nets that guess get no weight, the three that know something get it all, and images held out agree."""
    members = nets([1.5, 0, 1.4, 0, 1.6], images=600, seed=seed)
    learner = Learner(Rule(), how)
    weights = learner.learn(members).weights
    assert weights[1] == weights[3] == 0
    assert min(weights[0], weights[2], weights[4]) > 0
    assert accuracy(learner.held_out(members)).value > max(accuracy(member).value for member in members) + 0.03


def test_a_choice_among_guesses_is_worth_a_guess() -> None:
    """Of ten nets that all guess, the best of the subsets looks good on the images that chose it, and is no better
    than chance on those held out."""
    members = nets([0] * 10, images=100, classes=2)
    learner = Learner(Rule(), "subsets")
    assert accuracy(learner.learn(members).combined(members)).interval[0] > 0.5
    low, high = accuracy(learner.held_out(members)).interval
    assert low < 0.5 < high


@pytest.mark.parametrize("how", ["greedy", "subsets"])
def test_one_good_net_is_chosen_alone(how: str) -> None:
    """Where the others only harm, it has the weight 1."""
    assert Learner(Rule(), how).learn(nets([0, 4, 0], images=300)).weights == (0, 1, 0)


def test_greedy_picks_a_net_again() -> None:
    """A net that knows more than the others together is picked more often than each of them."""
    weights = Learner(Rule(), "greedy").learn(nets([2.5, 1.5, 1.5], images=2000, classes=10, seed=2)).weights
    assert weights[0] > 1.4 * max(weights[1:])
    assert min(weights) > 0


def by_margins(margins: Sequence[float], counts: Sequence[int]) -> Scores:
    """Scores of so many images with each margin of class 1, which is right, over class 0."""
    rows = [[(1 - margin) / 2, (1 + margin) / 2] for margin in np.repeat(margins, counts)]
    return scores(rows, [1] * len(rows))


def test_of_equal_picks_the_best_alone_is_taken() -> None:
    """Two nets put right as much of the third, and one of them knows more."""
    margins = [(-0.1, -0.1, 0.4), (0.6, 0.6, -0.2), (0.1, -0.1, 0.4)]
    members = [by_margins(net, (20, 40, 20)) for net in margins]
    assert Learner(Rule(), "greedy").learn(members).weights == (0, 0.5, 0.5)


@pytest.mark.parametrize(("harmed", "weights"), [(6, (0.5, 0.5)), (7, (1, 0))])
def test_a_pick_must_gain_more_than_chance_does(harmed: int, weights: tuple[float, float]) -> None:
    """Of 80 images a second net puts 10 right and some wrong: 4 gained are more than the standard error,
    sqrt(10 + 6 - 4² / 80), 3 are not."""
    counts = (10, harmed, 70 - harmed)
    members = [by_margins((-0.2, 0.2, 0.9), counts), by_margins((0.4, -0.4, -0.1), counts)]
    assert Learner(Rule(), "greedy").learn(members).weights == weights


def test_of_equal_subsets_the_smallest_is_taken() -> None:
    """A net beside its own copy is nothing more, nor are two that together know as much as another."""
    (net,) = nets([2])
    assert Learner(Rule(), "subsets").learn([net, net, net]).weights == (1, 0, 0)
    halves = [by_margins(margins, (5, 5)) for margins in ((-0.1, 0.4), (0.4, -0.1), (0.5, 0.5))]
    assert Learner(Rule(), "subsets").learn(halves).weights == (0, 0, 1)


@pytest.mark.parametrize("learner", LEARNERS, ids=repr)
def test_no_image_has_a_say_in_its_own(learner: Learner) -> None:
    """With other labels in a fold, the scores held out of this fold stay what they were."""
    members = nets([1, 1.2, 0.8], images=100, classes=4)
    images = next(folds(members[0], 5))[1]
    labels = members[0].labels.copy()  # type: ignore[union-attr]
    swapped = images[np.roll(np.arange(len(images)), 1)]
    turned = labels.copy()
    turned[images] = labels[swapped]
    assert (turned != labels).any()
    before = learner.held_out(members).scores[images]
    for kept, left_out in folds(members[0], 5):
        if np.array_equal(left_out, images):
            recipe = learner.learn([part(replace(member, labels=turned), kept) for member in members])
            after = recipe.combined([part(member, images) for member in members]).scores
    assert np.array_equal(before, after)


def test_folds_part_the_images_of_each_class_evenly() -> None:
    """Every image is held out once; folds differ by one image at most, in all and in each class."""
    (net,) = nets([1], images=103, classes=4)
    parts = list(folds(net, 5))
    assert sorted(image for _, own in parts for image in own) == list(range(103))
    for kept, own in parts:
        assert not set(kept) & set(own)
        assert len(kept) + len(own) == 103
    assert np.ptp([len(own) for _, own in parts]) <= 1
    assert np.ptp([np.bincount(net.labels[own], minlength=4) for _, own in parts], axis=0).max() <= 1  # type: ignore[index]


def test_folds_do_not_depend_on_the_order_of_images() -> None:
    """The keys alone say which images are together."""
    (net,) = nets([1], images=60)
    order = np.random.default_rng(0).permutation(60)
    turned = part(net, order)
    for (_, own), (_, other) in zip(folds(net, 4), folds(turned, 4), strict=True):
        assert {net.keys[image] for image in own} == {turned.keys[image] for image in other}


def test_em_takes_nothing_from_labels_of_its_own_images() -> None:
    """Its scores are the same without labels; of other images it has the confusion matrices."""
    learner = Learner(Rule("dawid-skene"))
    recipe, combined = learner.learn_and_combine(nets([1, 2]))
    assert recipe.confusions is None
    assert combined.labels is not None
    assert np.array_equal(combined.scores, learner.learn_and_combine(nets([1, 2], labelled=False))[1].scores)
    confusions = learner.learn(nets([1, 2])).confusions
    assert confusions is not None
    assert confusions.sum() == 800


@pytest.mark.parametrize("learner", LEARNERS, ids=repr)
def test_what_is_learned_from_labels_is_not_used_on_their_images(learner: Learner) -> None:
    """Without other images the scores are those held out; the recipe is learned from all."""
    members = nets([1, 2])
    recipe, combined = learner.learn_and_combine(members)
    assert np.array_equal(combined.scores, learner.held_out(members).scores)
    assert recipe.weights == learner.learn(members).weights


def test_a_recipe_is_used_on_other_images() -> None:
    """What is learned on some images makes others better."""
    learner = Learner(Rule("naive-bayes", smoothing=1.0))
    confusions = np.array([[[0.1, 0.9], [0.8, 0.2]], [[0.9, 0.1], [0.3, 0.7]]])
    random = np.random.default_rng(0)
    known, new = random.integers(0, 2, 400), random.integers(0, 2, 400)
    recipe = learner.learn(votes(confusions, known, 1))
    assert accuracy(recipe.combined(votes(confusions, new, 2))).value > 0.85


def test_given_weights_are_kept() -> None:
    """They need no labels."""
    learner = Learner(Rule(), (1.0, 3.0))
    assert not learner.needs_labels
    assert learner.learn(nets([1, 1], labelled=False)).weights == (0.25, 0.75)


@pytest.mark.parametrize("learner", LEARNERS, ids=repr)
def test_labels_are_missed_where_needed(learner: Learner) -> None:
    """The message names the file and what was to be learned."""
    with pytest.raises(DataError, match=r"net0\.npz: no labels, but .* must be learned from labelled images"):
        learner.learn(nets([1, 2], labelled=False))


def test_wrong_ways_to_learn_are_refused() -> None:
    """Weights of an unknown kind, weights where none are, too many subsets, too many folds."""
    with pytest.raises(DataError, match='weights by "luck" are none of equal, accuracy, greedy, subsets'):
        Learner(Rule(), "luck")
    with pytest.raises(DataError, match="naive-bayes takes no weights: it learns how good each net is"):
        Learner(Rule("naive-bayes"), "accuracy")
    with pytest.raises(DataError, match="11 score files have too many subsets to try all; at most 10 do"):
        Learner(Rule(), "subsets").learn(nets([1] * (MOST_FOR_SUBSETS + 1), images=20))
    for count in (1, 41):
        with pytest.raises(DataError, match=rf"net0\.npz: 40 images cannot be parted into {count} folds"):
            Learner(Rule(), "greedy", count).held_out(nets([1, 2], images=40))


def other_images(members: list[Scores]) -> list[Scores]:
    """The same as of other images."""
    keys = tuple(f"val_{key}" for key in members[0].keys)
    return [replace(m, scores=m.scores + 1, keys=keys, origin=f"val_{m.origin}") for m in members]


MEMBERS = nets([1, 2], images=20)
OTHER_CROPS = [replace(member, scores=member.scores + 1) for member in MEMBERS]
SOME = np.arange(15)
OTHER_IMAGES_TOO = [replace(part(member, SOME), scores=member.scores[SOME] + 1) for member in MEMBERS]
OTHER_NAMES = [replace(member, keys=tuple(f"x{key}" for key in member.keys)) for member in MEMBERS]
WRONG_VALIDATION = [
    (other_images(MEMBERS)[:1], "1 score files for validation, but 2 to combine"),
    (MEMBERS, r"net0\.npz: these are the images to combine; leave them out of the validation"),
    (OTHER_CROPS, r"net0\.npz: these are the images to combine; leave them out of the validation"),
    (OTHER_IMAGES_TOO, r"net0\.npz: these are the images to combine; leave them out of the validation"),
    (OTHER_NAMES, r"net0\.npz: these are the images to combine; leave them out of the validation"),
    (nets([3, 3], classes=7), r"net0\.npz: scores for 10 classes, but net0\.npz has them for 7"),
    (other_images(nets([1, 2], images=20, labelled=False)), r"val_net0\.npz: no labels, so it is nothing to validate"),
]


@pytest.mark.parametrize(("validation", "message"), WRONG_VALIDATION, ids=[message for _, message in WRONG_VALIDATION])
def test_a_wrong_validation_is_refused(validation: list[Scores], message: str) -> None:
    """One labelled file a net, on other images; that these have the same keys says nothing where the labels differ."""
    check_validation(other_images(MEMBERS), MEMBERS)
    check_validation(nets([1, 2], images=20, seed=1), MEMBERS)
    with pytest.raises(DataError, match=message):
        check_validation(validation, MEMBERS)


def with_nets(members: list[Scores], *nets: str) -> list[Scores]:
    """Scores of weights with these checksums."""
    return [replace(member, net=net) for member, net in zip(members, nets, strict=True)]


@pytest.mark.parametrize("learner", [*LEARNERS[:1], *LEARNERS[2:]], ids=repr)
def test_nets_that_changed_places_are_refused(learner: Learner) -> None:
    """In a validation and in a recipe, as far as it is known which weights made the scores."""
    validation = with_nets(other_images(MEMBERS), "a", "b")
    straight, unknown, turned = (with_nets(MEMBERS, *nets) for nets in ("ab", ("", "b"), "ba"))
    recipe = learner.learn(validation)
    for members in (straight, unknown):
        check_validation(validation, members)
        recipe.combined(members)
    for refuse in (lambda: check_validation(validation, turned), lambda: recipe.combined(turned)):
        with pytest.raises(DataError, match=r"net0\.npz: these scores are of other weights than what was learned in"):
            refuse()


def test_a_recipe_of_one_net_is_the_net() -> None:
    """There is nothing to choose."""
    (net,) = nets([2])
    for how in ("equal", "accuracy", "greedy", "subsets"):
        recipe: Recipe = Learner(Rule(), how).learn([net])
        assert recipe.weights == (1,)
        assert np.array_equal(recipe.combined([net]).predictions, net.predictions)
