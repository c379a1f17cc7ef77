"""The recipes of the zoo, and what its nets do to images, are what the studies state, or what was chosen where these
are silent."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import pytest
from google.protobuf import text_format

from netspec import read_net, read_solver
from netspec.graph import build, net_state
from netspec.schema.netspec_pb2 import LayerParameter, TransformationParameter
from netspec.upgrade import net_document

ROOT = Path(__file__).parents[1]


def path(name: str) -> Path:
    return ROOT / "zoo" / f"{name}.prototxt"


def data_layer(net: Path, phase: str, *stages: str) -> LayerParameter:
    """The layer that brings a net its images."""
    nodes = build(net_document(net), net_state(phase, stages=stages)).nodes
    (data,) = (node.param for node in nodes if not node.bottoms)
    return data


# --- recipes ----------------------------------------------------------------------------------------------------------


class Recipe(NamedTuple):
    """How a net is trained: for so many epochs of so many images, copies included, saved after every `saved` of them.
    The rate falls to `gamma` of it after the epochs of `drops`, or again and again after as many where the policy is
    "step"."""

    type: str
    rate: float
    epochs: int
    drops: tuple[int, ...] = ()
    policy: str = "multistep"
    gamma: float = 0.1
    batch: int = 100
    images: int = 100_000
    decay: float | None = None  # where the study states it
    saved: int = 2


NIN = Recipe("SGD", 0.01, 85, (40, 70))
BOIGNE = Recipe("Adam", 1e-4, 40, policy="fixed", images=200_000, decay=3.16e-5)
VGG = Recipe("Adam", 1e-3, 60, (20,), "step", gamma=0.5)
IRVINE = Recipe("Adam", 1e-3, 30, (20, 27))
MKRTCHYAN = Recipe("RAdam", 1e-3, 20, (7,), "step", batch=256, images=200_000, decay=1e-4)
RECIPES = {
    "nin": NIN, "nin_b": NIN, "nin_nocrop": NIN, "nin_prelu": NIN,
    "alexnet": Recipe("SGD", 0.01, 30, (20,), "step"),
    "inception_small": BOIGNE, "inception_refined": BOIGNE._replace(policy="multistep", drops=(25,)),
    "vgg_f": VGG, "vgg_y": VGG, "vgg_z": VGG,
    "inception_v3_small": Recipe("Adam", 5e-4, 60, policy="plateau"),
    "linear": IRVINE._replace(type="SGD", rate=0.01), "cnn2": IRVINE, "cnn_multi": IRVINE, "resnet_cnn": IRVINE,
    "vgg16": Recipe("SGD", 1e-3, 20, (15,)),
    "resnet152": MKRTCHYAN._replace(images=100_000),
    "m1": MKRTCHYAN, "m4": MKRTCHYAN, "alexnet_head1000": MKRTCHYAN, "resnet18": MKRTCHYAN, "resnet34": MKRTCHYAN,
    "resnet34_preact": MKRTCHYAN, "resnet50": MKRTCHYAN, "densenet161": MKRTCHYAN._replace(epochs=8),
    "googlenet": Recipe("SGD", 0.05, 30, policy="cosine"),
    "linear_best": Recipe("SGD", 1e-3, 30, policy="cosine"),
    "m1_best": Recipe("RAdam", 1e-3, 40, policy="cosine"), "m4_best": Recipe("RAdam", 1e-3, 40, policy="cosine"),
    "resnet18_best": Recipe("Nesterov", 0.05, 40, policy="cosine"),
    "alexnet_head1000_best": Recipe("RAdam", 1e-3, 40, policy="cosine"),
    "resnet34_best": Recipe("Nesterov", 0.05, 40, policy="cosine"),
    "resnet34_preact_best": Recipe("Nesterov", 0.05, 40, policy="cosine"),
    "vgg_f_best": Recipe("Nesterov", 0.05, 60, policy="cosine"),
    "resnet_cnn_best": Recipe("Nesterov", 0.05, 30, policy="cosine"),
    "inception_small_best": Recipe("Nesterov", 0.05, 80, policy="cosine", saved=4),
    "inception_refined_best": Recipe("Nesterov", 0.05, 80, policy="cosine", saved=4),
}  # fmt: skip

SOLVERS = {file.stem: read_solver(file) for file in sorted((ROOT / "solvers").glob("*.solver"))}


def test_every_recipe_is_in_the_table() -> None:
    """But for the quickstart's, which is of other images."""
    assert {*RECIPES, "quickstart"} == {*SOLVERS}


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_are_those_of_the_studies(name: str) -> None:
    """Rule, rate, drops, decay, batch, epochs and snapshots of a recipe are those of the table; it tests every epoch.
    Where an epoch is no whole number of iterations a rate drops in the one that ends it, all else is before."""
    solver, recipe = SOLVERS[name], RECIPES[name]
    epoch = recipe.images / recipe.batch

    assert solver.net == f"zoo/{name.removesuffix('_best')}.prototxt"
    assert (solver.type, solver.lr_policy) == (recipe.type, recipe.policy)
    assert (solver.base_lr, solver.momentum) == (pytest.approx(recipe.rate), pytest.approx(0.9))
    drops = [solver.stepsize] if recipe.policy == "step" else list(solver.stepvalue)
    assert drops == [math.ceil(epochs * epoch) for epochs in recipe.drops]
    assert solver.max_iter == math.floor(recipe.epochs * epoch)
    assert solver.test_interval == math.floor(epoch)
    assert solver.snapshot == math.floor(recipe.saved * epoch)
    if recipe.drops or recipe.policy == "plateau":
        assert solver.gamma == pytest.approx(recipe.gamma)
    if recipe.type in ("Adam", "RAdam"):
        assert (solver.momentum2, solver.delta) == (pytest.approx(0.999), pytest.approx(1e-8))
    if recipe.decay is not None:
        assert solver.weight_decay == pytest.approx(recipe.decay)
    data = data_layer(ROOT / solver.net, "TRAIN", *solver.train_state.stage)
    assert data.data_param.batch_size == recipe.batch
    assert 100_000 * (1 + len(data.transform_param.copy)) == recipe.images


def test_the_plateau_is_that_of_the_validation_loss() -> None:
    """The Inception-v3 lowers its rate when the loss of its tests stands still."""
    assert SOLVERS["inception_v3_small"].watch == "loss"


def test_blocks_are_let_loose_step_by_step() -> None:
    """VGG-16 begins with weights that are given and its five blocks frozen, of which one learns from every second epoch
    on, the last one first."""
    solver = SOLVERS["vgg16"]
    assert solver.weights
    assert [(list(freeze.layer), freeze.until) for freeze in solver.freeze] == [
        ([f"conv{block}_*"], 2_000 * (6 - block)) for block in (5, 4, 3, 2, 1)
    ]


@pytest.mark.parametrize("name", SOLVERS)
def test_statistics_are_gathered_before_tests(name: str) -> None:
    """The recipe of a net with BatchNorm leaves out the test at the start, the others do not."""
    solver = SOLVERS[name]
    normalised = any(layer.type == "BatchNorm" for layer in read_net(ROOT / solver.net).layer)
    assert solver.test_initialization != normalised


# --- images -----------------------------------------------------------------------------------------------------------


class Prepared(NamedTuple):
    """What is done to images in training and in tests, but for their colours' scale, and what scales these."""

    train: str
    test: str
    scaled_by: set[str]


IMAGE, VALUES, MEANS = {"mean_file"}, {"mean_value", "std_value"}, {"mean_value"}
SCALING = {"mean_file", "mean_value", "std_value", "scale", "fill"}

CROP_48 = Prepared("crop_size: 48 mirror: true", "crop_size: 48", IMAGE)
INCEPTION = Prepared(
    "copy { mirror: true mirror_or_rotate: true rotation_choice: [-10, -8, -6, 6, 8, 10] }", "", VALUES
)
TURNED = Prepared("rotation: 60 zoom_min: 1 zoom_max: 1.2 shift: 0.1", "", IMAGE)
VARIED = Prepared("mirror: true rotation: 10 shift: 0.1 contrast_min: 0.7 contrast_max: 1.3", "", IMAGE)
SET_1 = "crop_size: 56 center_crop: true output_size: 64 mirror: true"
SET_2 = "rotation: 10 mirror: true mirror_vertical: true blur_kernel: 5 blur_sigma_min: 0.1 blur_sigma_max: 2"
BOTH_SETS = Prepared(f"{SET_1} copy {{ {SET_2} }}", "crop_size: 56 output_size: 64", VALUES)
BEST = "random_resized_crop { area_min: 0.5 } crop_size: 64 mirror: true"
IMAGES = {
    "nin": CROP_48, "nin_b": CROP_48, "nin_prelu": CROP_48, "nin_nocrop": Prepared("mirror: true", "", IMAGE),
    "alexnet": Prepared("crop_size: 58 mirror: true", "crop_size: 58", IMAGE),
    "inception_small": INCEPTION, "inception_refined": INCEPTION,
    "vgg_f": TURNED, "vgg_y": TURNED, "vgg_z": TURNED, "inception_v3_small": TURNED,
    "linear": VARIED, "cnn2": VARIED, "cnn_multi": VARIED, "resnet_cnn": VARIED, "resnet152": VARIED,
    "vgg16": VARIED._replace(scaled_by=MEANS),
    "m1": BOTH_SETS, "m4": BOTH_SETS, "alexnet_head1000": BOTH_SETS, "resnet18": BOTH_SETS, "resnet34": BOTH_SETS,
    "resnet34_preact": BOTH_SETS, "resnet50": BOTH_SETS, "densenet161": BOTH_SETS,
    "m1 in set1": BOTH_SETS._replace(train=SET_1),
    **{f"{name} in best": BOTH_SETS._replace(train=BEST) for name in (
        "m1", "m4", "alexnet_head1000", "resnet18", "resnet34", "resnet34_preact", "resnet50", "densenet161",
    )},
    "resnet_cnn in best": VARIED._replace(train=BEST, scaled_by=MEANS),
    **{f"{name} in best": TURNED._replace(train=BEST, scaled_by=MEANS) for name in (
        "vgg_f", "vgg_y", "vgg_z", "inception_v3_small",
    )},
    **{f"{name} in best": INCEPTION._replace(train=BEST) for name in ("inception_small", "inception_refined")},
}  # fmt: skip


def moves(transform: TransformationParameter) -> dict[str, object]:
    """Every field of a transform, stated or not, but for those of scale; those of its copies too."""
    fields = {field.name for field in TransformationParameter.DESCRIPTOR.fields} - SCALING
    return {name: getattr(transform, name) for name in fields} | {"copy": [moves(copy) for copy in transform.copy]}


@pytest.mark.parametrize("case", IMAGES)
def test_images_are_prepared_as_in_the_studies(case: str) -> None:
    """Crops, flips, rotations and all else are those of the table, in training and in tests, and nothing is scaled
    otherwise, in the copies neither."""
    name, _, stage = case.partition(" in ")
    for phase, text in zip(("TRAIN", "TEST"), IMAGES[case][:2], strict=True):
        transform = data_layer(path(name), phase, *filter(None, [stage])).transform_param
        assert moves(transform) == moves(text_format.Parse(text, TransformationParameter())), phase
        for one in (transform, *transform.copy):
            stated = {field.name for field, _ in one.ListFields()} & SCALING
            assert stated - {"scale", "fill"} == IMAGES[case].scaled_by, phase


TWO_HALVES = [0.5, 0.5]
DROPOUT = {
    "nin": TWO_HALVES, "nin_b": [0.3, 0.3], "nin_nocrop": TWO_HALVES, "nin_prelu": TWO_HALVES, "alexnet": TWO_HALVES,
    "alexnet_head1000": TWO_HALVES, "vgg16": TWO_HALVES, "cnn2": [0.5], "cnn_multi": [0.5], "inception_refined": [0.5],
    "googlenet": [0.2],
}  # fmt: skip
"""The ratios of each net; of the others none has dropout."""


@pytest.mark.parametrize("name", sorted({Path(solver.net).stem for solver in SOLVERS.values()} - {"quickstart"}))
def test_dropout_is_that_of_the_studies(name: str) -> None:
    """The ratios of a net's dropouts, in their order, are those of the table."""
    ratios = [layer.dropout_param.dropout_ratio for layer in read_net(path(name)).layer if layer.type == "Dropout"]
    assert ratios == pytest.approx(DROPOUT.get(name, []))
