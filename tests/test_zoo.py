"""The nets of the zoo: they compile on data, count what they say, and the long ones are what tools/zoo.py writes."""

import io
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import torchvision.models as tv
from PIL import Image
from torch import nn

from netspec import read_net, read_solver
from netspec.compiler import Compiled, compile_graph
from netspec.data import compute_mean, write_lmdb, write_mean
from netspec.data.datum import decode, encoded_datum
from netspec.graph import Graph, build, net_state
from netspec.layers.sources import SourceContext
from netspec.schema.netspec_pb2 import TRAIN, NetParameter, NetState, SolverParameter
from netspec.scoring.deploy_text import deploy_text
from netspec.solver.check import check_solver
from netspec.spec import parse, read
from netspec.upgrade import net_document, solver_document

ROOT = Path(__file__).parents[1]

STUDIES = {
    "Banerjee, Iyer": ("nin", "nin_b", "nin_nocrop", "nin_prelu", "alexnet"),
    "Boigne, Heyse": ("inception_small", "inception_refined"),
    "Bastidas": ("vgg_f", "vgg_y", "vgg_z", "inception_v3_small"),
    "UC Irvine": ("linear", "cnn2", "cnn_multi", "vgg16", "resnet_cnn", "resnet152"),
    "Mkrtchyan": ("m1", "m4", "alexnet_head1000", "resnet18", "resnet34", "resnet34_preact", "densenet161"),
    "none, with Mkrtchyan's recipe": ("resnet50",),
}
CLASSIC = {"bvlc_alexnet": 227, "bvlc_googlenet": 224, "vgg16_224": 224, "squeezenet": 227}
"""The nets for ImageNet, at its 1000 classes and their own size."""
SIZES = {"nin": 48, "nin_b": 48, "nin_prelu": 48, "nin_imagenet": 56, "alexnet": 58, **CLASSIC}
"""The sides of the images of nets that do not take them as they are, at 64."""
WRITTEN = {
    "resnet18", "resnet18_3x3", "resnet34", "resnet34_preact", "resnet50", "resnet152", "vgg16", "vgg16_224",
    "googlenet", "bvlc_googlenet", "densenet161", "squeezenet", "inception_small", "inception_refined",
    "vgg_f", "vgg_y", "vgg_z", "inception_v3_small",
}  # fmt: skip

NAMES = sorted({file.stem for file in (ROOT / "zoo").glob("*.prototxt")} - {"quickstart"})
SOLVERS = sorted((ROOT / "solvers").glob("*.solver"))
BEST = [file for file in SOLVERS if file.stem.endswith("_best")]
EACH = pytest.mark.parametrize("name", NAMES)
PHASES = pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
README = (ROOT / "README.md").read_text()


def path(name: str) -> Path:
    return ROOT / "zoo" / f"{name}.prototxt"


STAGED = [
    (name, stage) for name in NAMES for stage in sorted(set(re.findall(r"\bstage: \"(\w+)\"", path(name).read_text())))
]
"""The nets that train on other images in a stage, with the stage."""


def comment_on(file: Path) -> str:
    """The comment on top of a file, on one line."""
    return " ".join(line[2:] for line in takewhile(lambda line: line.startswith("# "), file.read_text().splitlines()))


def graph(name: str, phase: str = "TRAIN", *stages: str) -> Graph:
    return build(net_document(path(name)), net_state(phase, stages=stages))


def compiled(name: str, phase: str = "TRAIN") -> Compiled:
    """A net with its layers built, on two images; its blobs take no memory."""
    size = SIZES.get(name, 64)
    return compile_graph(graph(name, phase), {"data": (2, 3, size, size), "label": (2,)})


def shapes(name: str) -> list[torch.Size]:
    """The shapes of the parameters of a net, in order."""
    return [parameter.shape for layer in compiled(name).layers for parameter in layer.module.parameters()]


def weights(name: str, phase: str = "TRAIN") -> dict[str, torch.Size]:
    """The shape of the first parameter of each layer that has some, by the layer's name."""
    layers = compiled(name, phase).layers
    found = {layer.node.name: next(layer.module.parameters(), None) for layer in layers}
    return {name: parameter.shape for name, parameter in found.items() if parameter is not None}


# --- every net --------------------------------------------------------------------------------------------------------


def test_the_zoo_is_whole() -> None:
    """Every net of the studies has a file and a recipe, and every classic one a file."""
    studied = {name for names in STUDIES.values() for name in names}
    assert studied <= {file.stem for file in SOLVERS}
    assert {*studied, *CLASSIC} <= set(NAMES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny Tiny ImageNet and a tiny ImageNet, where the nets look for them."""
    folder = tmp_path_factory.mktemp("zoo")
    for name, side in (("tiny-imagenet", 64), ("ilsvrc12", 256)):
        file = io.BytesIO()
        Image.new("RGB", (side, side), (90, 40, 200)).save(file, "PNG")
        datum = encoded_datum(file.getvalue(), 7)
        data = folder / "data" / name
        for part in ("train_lmdb", "val_lmdb"):
            write_lmdb(data / part, [(b"0", datum.SerializeToString())])
        write_mean(data / "mean.binaryproto", compute_mean([decode(datum)]))
    return folder


@pytest.fixture
def on_data(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Compiled]:
    """Compiles a net, in a phase and its stages, on the images of the folder."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("NETSPEC_CACHE", str(folder / "cache"))

    def on_data(name: str, phase: str, *stages: str) -> Compiled:
        net = compile_graph(graph(name, phase, *stages), {}, SourceContext(0))
        for _, source in net.sources:
            source.close()
        return net

    return on_data


@EACH
@PHASES
def test_nets_compile_on_data(name: str, phase: str, on_data: Callable[..., Compiled]) -> None:
    """In both phases a net takes images of its size from the set and scores its classes; TEST counts hits too."""
    net = on_data(name, phase)
    size = SIZES.get(name, 64)
    assert net.shapes["data"][1:] == (3, size, size)
    losses = [layer for layer in net.layers if layer.node.param.type == "SoftmaxWithLoss"]
    scores = losses[-1].node.bottoms[0]
    assert net.shapes[scores][1] == (1000 if name in CLASSIC else 200)
    counts = [layer.node.tops[0] for layer in net.layers if layer.node.param.type == "Accuracy"]
    assert bool(counts) == (phase == "TEST")
    assert set(net.graph.outputs) == {*net.loss_weights, *counts}


@pytest.mark.parametrize(("name", "stage"), STAGED)
def test_stages_have_the_same_shapes(name: str, stage: str, on_data: Callable[..., Compiled]) -> None:
    """In a stage of its own a net trains on images prepared in another way; its blobs but for the batch, and its
    parameters, have the shapes that they have in none."""
    plain, staged = on_data(name, "TRAIN"), on_data(name, "TRAIN", stage)
    first, other = (net.graph.nodes[0].param.transform_param for net in (plain, staged))
    assert first != other
    blobs = [{blob: shape[1:] for blob, shape in net.shapes.items()} for net in (plain, staged)]
    assert blobs[0] == blobs[1]
    parameters = [[blob.shape for layer in net.layers for blob in layer.module.parameters()] for net in (plain, staged)]
    assert parameters[0] == parameters[1]
    assert staged.loss_weights == plain.loss_weights


@pytest.mark.parametrize("name", [*NAMES, "quickstart"])
def test_nets_have_a_deploy_view(name: str) -> None:
    """The deploy net that tools/deploy.py writes of a net compiles; its only input is images, its only output a share
    for each class."""
    side = SIZES.get(name, 64)
    images = (2, 1, 8, 8) if name == "quickstart" else (2, 3, side, side)
    view = parse(deploy_text(path(name), None, {"data": images}), NetParameter)
    net = compile_graph(build(view, net_state("TEST")), {})
    (output,) = net.graph.outputs
    (maker,) = (node for node in net.graph.nodes if output in node.tops)
    classes = 10 if name == "quickstart" else 1000 if name in CLASSIC else 200
    assert (net.inputs, net.shapes["data"], net.loss_weights) == (["data"], images, {})
    assert maker.param.type == "Softmax"
    assert (net.shapes[output][:2], math.prod(net.shapes[output])) == ((2, classes), 2 * classes)


@EACH
def test_comments_count_the_parameters(name: str) -> None:
    """The count in the comment on top of a file is that of the net."""
    stated = re.search(r"^# Parameters: ([\d,]+)", path(name).read_text(), flags=re.MULTILINE)
    assert stated and int(stated[1].replace(",", "")) == sum(shape.numel() for shape in shapes(name))


@EACH
def test_comments_say_what_was_published_and_reached(name: str) -> None:
    """The comment on top of a file says where the net comes from, what was published of it and what was reached; and
    in which stages it trains on other images."""
    comment = comment_on(path(name))
    for part in ("Source: ", "Published: ", "Reached: "):
        assert part in comment
    for _, stage in (pair for pair in STAGED if pair[0] == name):
        assert f'The stage "{stage}"' in comment


class Row(NamedTuple):
    """What the README's table says of a network: accuracies as texts, empty where there is none."""

    published: str
    whole_set: str
    iterations: str
    minutes: str
    study: str
    best: str


def compared() -> dict[str, Row]:
    """The rows of the README's table of networks, by the network."""
    rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in README.splitlines() if line.startswith("|")]
    named = ((cells[0].partition(" (")[0], cells[1:]) for cells in rows if len(cells) == 1 + len(Row._fields))
    return {name: Row(*cells) for name, cells in named if name in NAMES}


COMPARED = compared()
TESTED = "of the 500 validation images of the first 20 classes"


@pytest.mark.parametrize("name", COMPARED)
def test_comments_say_what_the_readme_does(name: str) -> None:
    """The comments of a net and of its recipes have the figures of the README's table, and a recipe is there for each
    of them."""
    row = COMPARED[name]
    published, reached = comment_on(path(name)).partition("Published: ")[2].split("Reached: ")
    assert row.published in published
    assert reached.startswith(f"{row.study} {TESTED} after {row.iterations} iterations of ")
    assert (f", {row.best} with solvers/{name}_best.solver;" in reached) == bool(row.best)
    assert ("the whole set has not been run yet" in reached) == (not row.whole_set)
    for end, accuracy in (("", row.study), ("_best", row.best)):
        solver = ROOT / "solvers" / f"{name}{end}.solver"
        assert solver.is_file() == bool(accuracy)
        if accuracy:
            reached = comment_on(solver).partition("Reached: ")[2]
            assert reached.startswith(f"{accuracy} {TESTED} after {row.iterations} iterations with `fast`, ")
            assert f"reached {row.study}" in reached or not end


@pytest.mark.parametrize("file", [*map(path, NAMES), *SOLVERS], ids=lambda file: file.name)
def test_no_comment_says_more_than_the_readme(file: Path) -> None:
    """What a net or a recipe reached on the first 20 classes stands in the README's table too; and what has no figure
    at all says so."""
    comment = comment_on(file)
    assert (TESTED in comment) == (file.stem.removesuffix("_best") in COMPARED)
    assert re.search(r"Reached: (0\.\d{3} |not run yet\.)", comment)


def test_the_commands_of_a_row_are_those_of_the_row() -> None:
    """The commands that the README gives for a row train for its iterations, and drop the rate after the same share of
    them as the recipe."""
    commands = re.findall(
        r"^python tools/solve.py (solvers/(\w+?)(?:_best)?\.solver) (--set fast=true .*)$", README, re.M
    )
    assert {name for _, name, _ in commands} == {"resnet18"}
    for file, name, settings in commands:
        solver = read_solver(ROOT / file)
        given = {field: int(value) for field, value in re.findall(r"--set (\w+)=(\d+)", settings)}
        assert f"{given['max_iter']:,}" == COMPARED[name].iterations
        share = solver.stepsize / solver.max_iter
        assert given.get("stepsize", 0) == round(share * given["max_iter"])
        assert "data@TRAIN.data_param.batch_size=100 " in settings


@pytest.mark.parametrize("file", SOLVERS, ids=lambda file: file.stem)
def test_recipes_are_right_and_of_nets_of_the_zoo(file: Path) -> None:
    """A recipe is one that a solver takes; it trains a net that is there and names its snapshots after itself."""
    document = solver_document(read(file, SolverParameter))
    check_solver(document)
    assert (ROOT / document.message.net).is_file()
    assert document.message.snapshot_prefix == f"snapshots/{file.stem}/{file.stem}"


def test_statistics_are_gathered_as_pytorch_does() -> None:
    """BatchNorm keeps of its statistics what PyTorch's does, whose nets these are: with Caffe's own fraction tests
    would see the statistics of weights long gone."""
    momentum = nn.BatchNorm2d(1).momentum
    assert momentum is not None
    norms = [layer for name in NAMES for layer in read_net(path(name)).layer if layer.type == "BatchNorm"]
    (fraction,) = {layer.batch_norm_param.moving_average_fraction for layer in norms}
    assert fraction == pytest.approx(1 - momentum)


@pytest.mark.parametrize("file", BEST, ids=lambda file: file.stem)
def test_best_recipes_see_as_many_images(file: Path) -> None:
    """A best recipe trains the net of the study's recipe on as many images, copies included, from one data layer."""
    seen = []
    for recipe in (file, file.with_stem(file.stem.removesuffix("_best"))):
        solver = read_solver(recipe)
        state = NetState(phase=TRAIN, stage=solver.train_state.stage)
        (data,) = [node for node in build(net_document(ROOT / solver.net), state).nodes if node.param.type == "Data"]
        seen.append((solver.net, solver.max_iter * data.param.data_param.batch_size))
    assert seen[0] == seen[1]


# --- counts and shapes that are published -----------------------------------------------------------------------------


COUNTS = {
    "resnet18": (200, 11_279_112), "resnet34": (200, 21_387_272), "resnet50": (200, 23_917_832),
    "resnet152": (200, 58_553_608), "densenet161": (200, 26_913_800), "googlenet": (200, 5_804_904),
    "vgg16_224": (1000, 138_357_544), "squeezenet": (1000, 1_235_496),
}  # fmt: skip
"""The nets that are torchvision's own: their classes and their parameters."""
CALLED = {"vgg16_224": "vgg16", "squeezenet": "squeezenet1_1"}
"""What torchvision calls them, where it is otherwise."""
CONVOLUTIONS_OF_VGG16 = 14_714_688


def shapes_in_torchvision(name: str, classes: int = 200) -> list[torch.Size]:
    """The shapes of the parameters of torchvision's network, in order."""
    heads = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    with torch.device("meta"):
        module: nn.Module = tv.get_model(name, weights=None, num_classes=classes, **heads)
    return [parameter.shape for parameter in module.parameters()]


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_are_torchvisions(name: str) -> None:
    """Networks that are torchvision's own have its parameters, in its order."""
    classes, count = COUNTS[name]
    assert shapes(name) == shapes_in_torchvision(CALLED.get(name, name), classes)
    assert sum(shape.numel() for shape in shapes(name)) == count


def test_the_small_stem_differs_in_one_convolution() -> None:
    """ResNet-18 with the 3x3 stem has torchvision's parameters but for those of the first convolution."""
    first, *rest = shapes("resnet18_3x3")
    assert first == (64, 3, 3, 3)
    assert rest == shapes_in_torchvision("resnet18")[1:]


def test_vgg16_differs_in_one_product() -> None:
    """VGG-16 has torchvision's convolutions, and its classifier but for the first product, which reads 2x2 maps."""
    own, theirs = shapes("vgg16"), shapes_in_torchvision("vgg16")
    assert own[:26] == theirs[:26]
    assert sum(shape.numel() for shape in own[:26]) == CONVOLUTIONS_OF_VGG16
    assert own[26] == (4096, 512 * 2 * 2)
    assert own[27:] == theirs[27:]


def test_pre_activation_differs_in_the_shortcuts() -> None:
    """ResNet-34 with pre-activation has as many parameters as without, but for the norms of its three shortcuts."""
    shortcuts = 2 * (128 + 256 + 512)
    assert sum(map(torch.Size.numel, shapes("resnet34_preact"))) == COUNTS["resnet34"][1] - shortcuts


def test_pre_activation_comes_before_every_convolution() -> None:
    """Its convolutions but the first read what a ReLU made, and no sum is changed in place."""
    last: dict[str, str] = {}
    for node in graph("resnet34_preact").nodes:
        kind = node.param.type
        if kind == "Convolution" and node.name != "conv1":
            assert last[node.bottoms[0]] in ("ReLU", "Pooling"), node.name
        assert not any(last.get(top) == "Eltwise" for top in node.tops), node.name
        last.update(dict.fromkeys(node.tops, kind))
    assert list(last.values()).count("Eltwise") == 16


BOIGNE = {
    "conv1": (128, 62), "pool1": (128, 30), "inception1": (128, 30), "pool2": (128, 16), "inception2": (128, 16),
    "inception3": (256, 16), "pool3": (256, 8),
}  # fmt: skip
"""Channels and side of the maps of Boigne and Heyse's nets, up to where the two differ."""
BRANCHES = ("1x1", "3x3_reduce", "3x3", "5x5_reduce", "5x5", "pool_proj")
SMALL, BASELINE, REFINED = (32, 48, 64, 8, 16, 16), (64, 96, 128, 16, 32, 32), (80, 120, 160, 20, 40, 40)


@pytest.mark.parametrize(
    ("name", "last", "channels"), [("inception_small", BASELINE, 256), ("inception_refined", REFINED, 320)]
)
def test_small_inceptions_have_the_shapes_of_their_table(name: str, last: tuple[int, ...], channels: int) -> None:
    """Every blob, those inside the modules too, has the shape that the study gives."""
    expected = {**BOIGNE, "inception4": (channels, 8), "pool4": (channels, 1)}
    modules = zip(("pool1", "pool2", "inception2", "pool3"), (SMALL, SMALL, BASELINE, last), strict=True)
    for index, (bottom, widths) in enumerate(modules, start=1):
        side = expected[bottom][1]
        expected |= {
            f"inception{index}/{branch}": (width, side) for branch, width in zip(BRANCHES, widths, strict=True)
        }
        expected[f"inception{index}/pool"] = expected[bottom]
    blobs = {blob: shape for blob, shape in compiled(name).shapes.items() if len(shape) == 4 and blob != "data"}
    assert blobs == {blob: (2, width, side, side) for blob, (width, side) in expected.items()}
    assert compiled(name).shapes["fc"] == (2, 200)


# --- structure --------------------------------------------------------------------------------------------------------


def kernels(name: str) -> Iterator[tuple[int, int]]:
    """Height and width of each convolution's kernel."""
    return (shape[2:] for shape in weights(name).values() if len(shape) == 4)


@pytest.mark.parametrize("name", STUDIES["Bastidas"])
def test_bastidas_nets_have_small_kernels_only(name: str) -> None:
    """Their convolutions are 1x1, 2x1, 1x2 and 2x2, and all four kinds occur."""
    assert set(kernels(name)) == {(1, 1), (2, 1), (1, 2), (2, 2)}


def test_bastidas_nets_keep_the_size_of_maps() -> None:
    """The maps of a stage, and those of modules of one kind, are as large as those before, in spite of even kernels."""
    for units, name in enumerate(("vgg_f", "vgg_y", "vgg_z"), start=1):
        blobs = compiled(name).shapes
        for stage, (width, side) in enumerate(((64, 64), (128, 32), (256, 16)), start=1):
            for unit in range(1, units + 1):
                assert blobs[f"conv{stage}.{unit}/2x2"] == (2, width, side, side)
        assert len(list(kernels(name))) == 3 * 4 * units
    blobs = compiled("inception_v3_small").shapes
    assert {name: blobs[name][1:] for name in ("a1", "a2", "b", "c1", "c2")} == {
        "a1": (256, 32, 32), "a2": (288, 32, 32), "b": (768, 16, 16), "c1": (768, 16, 16), "c2": (768, 16, 16),
    }  # fmt: skip


def test_bastidas_penalty_is_on_the_convolutions() -> None:
    """The weights of the convolutions decay, and nothing else does."""
    for name in STUDIES["Bastidas"]:
        for layer in compiled(name).layers:
            if next(layer.module.parameters(), None) is not None:
                decays = [param.decay_mult for param in layer.node.param.param]
                assert decays == ([] if layer.node.param.type == "Convolution" else [0, 0])


@PHASES
def test_mkrtchyans_nets_see_the_same_images(phase: str) -> None:
    """The transforms of his study are one and the same in its nets."""
    names = (*STUDIES["Mkrtchyan"], "resnet50")
    first, *others = (graph(name, phase).nodes[0].param.transform_param for name in names)
    assert all(other == first for other in others)
    assert len(first.copy) == (phase == "TRAIN")


# --- public weights ---------------------------------------------------------------------------------------------------


MODULES = ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")
FIRE = ("squeeze1x1", "expand1x1", "expand3x3")
VGG = [f"conv{stage}_{index}" for stage, count in enumerate((2, 2, 3, 3, 3), 1) for index in range(1, count + 1)]
PUBLIC = {
    "bvlc_alexnet": ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7", "fc8"],
    "bvlc_googlenet": [
        "conv1/7x7_s2", "conv2/3x3_reduce", "conv2/3x3",
        *(f"inception_{module}/{branch}" for module in MODULES for branch in BRANCHES), "loss3/classifier",
        *(f"{head}/{layer}" for head in ("loss1", "loss2") for layer in ("conv", "fc", "classifier")),
    ],
    "vgg16_224": [*VGG, "fc6", "fc7", "fc8"],
    "squeezenet": ["conv1", *(f"fire{index}/{layer}" for index in range(2, 10) for layer in FIRE), "conv10"],
}  # fmt: skip
"""The layers with weights of the public caffemodels."""


@pytest.mark.parametrize("name", PUBLIC)
def test_classic_nets_have_the_public_names(name: str) -> None:
    """The layers with weights have the names of the public caffemodels, by which weights are found."""
    assert sorted(weights(name)) == sorted(PUBLIC[name])


def test_the_auxiliary_classifiers_are_there_in_training() -> None:
    """GoogLeNet has two more losses in TRAIN, which count 0.3 each; in TEST they and their weights are not there."""
    assert compiled("bvlc_googlenet").loss_weights == pytest.approx(
        {"loss1/loss1": 0.3, "loss2/loss2": 0.3, "loss3/loss3": 1}
    )
    assert weights("bvlc_googlenet")["loss1/fc"] == (1024, 128 * 4 * 4)
    assert compiled("bvlc_googlenet", "TEST").loss_weights == {"loss3/loss3": 1}
    assert not any(layer.startswith(("loss1", "loss2")) for layer in weights("bvlc_googlenet", "TEST"))


def test_public_weights_of_vgg16_fit_small_images() -> None:
    """The convolutions of VGG-16 at 64 pixels take public weights; its products have names of their own."""
    small, public = weights("vgg16"), weights("vgg16_224")
    assert {layer: small[layer] for layer in VGG} == {layer: public[layer] for layer in VGG}
    assert small.keys() - public.keys() == {"fc6_64", "fc7_64", "fc8_64"}
    assert len(small) == len(public)


# --- tools/zoo.py -----------------------------------------------------------------------------------------------------


def zoo(*arguments: str) -> subprocess.CompletedProcess[str]:
    """tools/zoo.py, finished."""
    command = [sys.executable, str(ROOT / "tools" / "zoo.py"), *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_long_nets_are_as_written(tmp_path: Path) -> None:
    """tools/zoo.py writes the very files of the zoo."""
    done = zoo("--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert {file.stem for file in tmp_path.iterdir()} == WRITTEN
    for name in WRITTEN:
        assert (tmp_path / f"{name}.prototxt").read_text() == path(name).read_text()
        assert max(map(len, path(name).read_text().splitlines())) <= 120


def test_one_net_can_be_written(tmp_path: Path) -> None:
    """Only the nets that are named are written; an unknown name is a mistake with one message."""
    assert zoo("vgg16", "--out", str(tmp_path)).returncode == 0
    assert [file.name for file in tmp_path.iterdir()] == ["vgg16.prototxt"]
    done = zoo("vgg19", "--out", str(tmp_path))
    assert done.returncode == 2
    assert 'there is no net "vgg19"' in done.stderr
