"""The nets of the zoo: they compile on data, count what they say, and the long ones are what tools/zoo.py writes."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torchvision.models as tv
from PIL import Image
from torch import nn

from netspec import Net
from netspec.data import compute_mean, write_lmdb, write_mean
from netspec.data.datum import decode, encoded_datum

ROOT = Path(__file__).parents[1]
SIZES = {
    "nin": 48, "nin_imagenet": 56, "alexnet": 58, "resnet18": 64, "resnet18_3x3": 64, "vgg16": 64, "googlenet": 64,
    "densenet161": 64,
}  # fmt: skip
WRITTEN = ("resnet18", "resnet18_3x3", "vgg16", "googlenet", "densenet161")
CONVOLUTIONS_OF_VGG16 = 14_714_688

EACH = pytest.mark.parametrize("name", SIZES)


def path(name: str) -> Path:
    return ROOT / "zoo" / f"{name}.prototxt"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny Tiny ImageNet, where the nets look for it."""
    folder = tmp_path_factory.mktemp("zoo")
    file = io.BytesIO()
    Image.new("RGB", (64, 64), (90, 40, 200)).save(file, "PNG")
    datum = encoded_datum(file.getvalue(), 7)
    data = folder / "data" / "tiny-imagenet"
    for name in ("train_lmdb", "val_lmdb"):
        write_lmdb(data / name, [(b"0", datum.SerializeToString())])
    write_mean(data / "mean.binaryproto", compute_mean([decode(datum)]))
    return folder


@EACH
@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_nets_compile_on_data(name: str, phase: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In both phases a net takes images of its size from the set and scores 200 classes; TEST counts hits too."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("NETSPEC_CACHE", str(folder / "cache"))
    net = Net(path(name), phase)
    size = SIZES[name]
    assert net.blob_shapes["data"][1:] == (3, size, size)
    scores = net.compiled.layers[-1].node.bottoms[0]
    assert net.blob_shapes[scores][1] == 200
    assert set(net.outputs) == ({"loss"} if phase == "TRAIN" else {"loss", "accuracy"})
    net.close()


def trained(name: str) -> Net:
    size = SIZES[name]
    return Net(path(name), "TRAIN", shapes={"data": (2, 3, size, size), "label": (2,)})


@EACH
def test_comments_count_the_parameters(name: str) -> None:
    """The count in the comment on top of a file is that of the net."""
    stated = re.search(r"^# Parameters: ([\d,]+)", path(name).read_text(), flags=re.MULTILINE)
    assert stated and int(stated[1].replace(",", "")) == sum(p.numel() for p in trained(name).parameters())


def shapes_in_torchvision(name: str) -> list[torch.Size]:
    """The shapes of the parameters of torchvision's network, in order."""
    heads = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    with torch.device("meta"):
        module: nn.Module = tv.get_model(name, weights=None, num_classes=200, **heads)
    return [parameter.shape for parameter in module.parameters()]


def shapes(name: str) -> list[torch.Size]:
    """Those of a net of the zoo."""
    return [parameter.shape for parameter in trained(name).parameters()]


@pytest.mark.parametrize("name", ["resnet18", "googlenet", "densenet161"])
def test_parameters_are_torchvisions(name: str) -> None:
    """Networks that are torchvision's own have its parameters, in its order."""
    assert shapes(name) == shapes_in_torchvision(name)


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


def zoo(*arguments: str) -> subprocess.CompletedProcess[str]:
    """tools/zoo.py, finished."""
    command = [sys.executable, str(ROOT / "tools" / "zoo.py"), *arguments]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_long_nets_are_as_written(tmp_path: Path) -> None:
    """tools/zoo.py writes the very files of the zoo."""
    done = zoo("--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert {file.stem for file in tmp_path.iterdir()} == set(WRITTEN)
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
