"""Every net of the zoo trains on real images: 20 iterations on four images of Tiny ImageNet, each of another class.

The batch is the whole set, so every iteration sees the same images, changed at random where a net's transforms do so.
A net that works learns them by heart: the mean of its last five losses is below `FALLEN` of log(classes), which is the
loss of scores that are all alike, and below `FALLEN` of its first loss. A net that does not work stays where it was,
and an untrained one is better than scores that are all alike by chance only; the tests of nets that do not learn show
it. Four labels can be learnt without a look at the images, by the last bias alone, so every blob that learns must have
moved too: the first convolution moves only where the loss depends on what it makes of the images.

The update is Adam's for all, without weight decay, as that moves blobs that have no gradient. The recipes of the
solvers are made for 100,000 images; in 20 iterations some of them hardly begin.

Nets for ImageNet see two of the images an iteration, enlarged to 256 pixels; VGG-16 takes 4 GB and a minute so. The
quickstart has data of its own, and trains where the README is tested.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

import pytest

from netspec import Net, Solver, read_net
from netspec.data import compute_mean, write_lmdb, write_mean
from netspec.data.archive import members
from netspec.data.datum import decode, encoded_datum
from netspec.schema.netspec_pb2 import SolverParameter

ROOT = Path(__file__).parents[1]
ARCHIVE = Path("shared", "tiny-imagenet-200", "part-0.tar.gz")
ARCHIVES = [path for path in (ROOT / ARCHIVE, ROOT.parent / ARCHIVE) if path.is_file()]

OTHER_DATA = {"quickstart"}
NETS = sorted({path.stem for path in (ROOT / "zoo").glob("*.prototxt")} - OTHER_DATA)

CLASSES = 4
ITERATIONS = 20
FALLEN = 0.85
RATE = 1e-3
RATES = {
    "alexnet": 3e-4, "alexnet_head1000": 3e-4, "nin_imagenet": 3e-4, "vgg16": 1e-4, "vgg16_224": 3e-5, "squeezenet":
    3e-4, "bvlc_alexnet": 1e-4, "bvlc_googlenet": 3e-4, "resnet34": 3e-4, "resnet34_preact": 3e-4, "resnet50": 3e-4,
    "resnet152": 3e-4,
}  # fmt: skip
"""Where not `RATE`: nets that see values up to 255, or begin with large scores, leap far away at that."""
SCALED = {"vgg16": "data@TRAIN.transform_param.scale=0.0078125"}
"""VGG-16 keeps the size of what it sees: of values up to 255 it makes scores too far apart for 20 iterations."""

pytestmark = pytest.mark.skipif(not ARCHIVES, reason=f"there is no {ARCHIVE}, nor one beside the project")


def first_images() -> Iterator[bytes]:
    """The first image of each class of the archive, encoded."""
    last = ""
    for name, data in members(ARCHIVES[:1]):
        parts = Path(name).parts
        if parts[1:2] == ("train",) and parts[2] != last and name.endswith(".JPEG"):
            last = parts[2]
            yield data


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the four images where the nets look for Tiny ImageNet, and for ImageNet."""
    folder = tmp_path_factory.mktemp("zoo_training")
    datums = [encoded_datum(image, label) for label, image in zip(range(CLASSES), first_images(), strict=False)]
    assert len(datums) == CLASSES
    data = folder / "data"
    write_lmdb(data / "tiny-imagenet" / "train_lmdb", [(b"%d" % d.label, d.SerializeToString()) for d in datums])
    write_mean(data / "tiny-imagenet" / "mean.binaryproto", compute_mean(map(decode, datums)))
    (data / "ilsvrc12").symlink_to(data / "tiny-imagenet")
    return folder


def settings(name: str) -> list[str]:
    """What lets a net's data layers read the images: all four at once, or two enlarged ones."""
    crop = max(layer.transform_param.crop_size for layer in read_net(path(name)).layer)
    if crop > 64:
        return ["data@TRAIN.data_param.batch_size=2", "data@TRAIN.transform_param.resize=[256]"]
    return [f"data@TRAIN.data_param.batch_size={CLASSES}", *([SCALED[name]] if name in SCALED else [])]


def path(name: str) -> Path:
    return ROOT / "zoo" / f"{name}.prototxt"


@pytest.fixture
def learn(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """Let a net learn: its losses, the number of its classes, and the layers with a blob that stood still."""
    monkeypatch.chdir(folder)

    def learn(name: str, rate: float, *changes: str) -> tuple[list[float], int, set[str]]:
        param = SolverParameter(
            net=str(path(name)), type="Adam", momentum=0.9, base_lr=rate, lr_policy="fixed", max_iter=ITERATIONS,
            random_seed=1,
        )  # fmt: skip
        solver = Solver(param, device="cpu", settings=[*settings(name), *changes])
        blobs = [blob for blob in solver.net.params if blob.lr_mult]
        before = [blob.tensor.detach().clone() for blob in blobs]
        losses = []
        for _ in range(ITERATIONS):
            solver.step(1)
            losses.append(solver.loss)
        solver.close()
        still = {blob.layer for blob, first in zip(blobs, before, strict=True) if blob.tensor.equal(first)}
        return losses, classes(solver.net), still

    return learn


def classes(net: Net) -> int:
    """How many classes the last loss of a net tells apart."""
    scores = next(node.bottoms[0] for node in reversed(net.graph.nodes) if node.param.type == "SoftmaxWithLoss")
    return net.blob_shapes[scores][1]


def has_fallen(losses: list[float], classes: int) -> bool:
    return fmean(losses[-5:]) < FALLEN * min(losses[0], math.log(classes))


@pytest.mark.parametrize("name", NETS)
def test_nets_learn(name: str, learn) -> None:
    """The loss falls, and every blob moves."""
    losses, classes, still = learn(name, RATES.get(name, RATE))
    assert has_fallen(losses, classes), losses
    assert not still


@pytest.mark.parametrize("name", ["linear", "cnn2", "resnet_cnn", "m1"])
def test_a_net_that_stands_still_is_found(name: str, learn) -> None:
    """At a rate of 0 no loss falls, whatever chance there is in crops and dropout, and no blob moves."""
    losses, classes, still = learn(name, 0)
    assert not has_fallen(losses, classes), losses
    assert still


def test_a_net_that_does_not_see_the_images_is_found(learn) -> None:
    """With a first convolution that is cut off by its ReLU the blobs below the last bias stand still."""
    _, _, still = learn("cnn2", RATE, "conv1.convolution_param.bias_filler.value=-1e6")
    assert {"conv1", "conv2"} <= still
