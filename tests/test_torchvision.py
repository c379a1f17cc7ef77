"""Torchvision as a judge: its networks, written with the builder, compute what its own modules compute."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision.models as tv
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from netspec import Net, NetSpec, parse_net, to_text
from netspec import layers as L
from netspec.schema.netspec_pb2 import NetParameter

sys.path.append(str(Path(__file__).parents[1] / "tools"))

from compile_speed import resnet152
from torchvision_nets.alexnet import alexnet
from torchvision_nets.googlenet import googlenet
from torchvision_nets.inception import inception_v3
from zoo_densenet import densenet
from zoo_resnet import resnet, stem
from zoo_squeezenet import squeeze_and_expand
from zoo_vgg import vgg

TOLERANCE = 1e-5
PHASES = ("TEST", "TRAIN")


@dataclass(frozen=True)
class Case:
    """A network under torchvision's name, written by a function of a spec with images, the classes and the phase.

    `settings` are for torchvision's module: no dropout, since both sides would draw differently. The `sizes` of the
    images in TEST and TRAIN are small; in TRAIN they are such that no BatchNorm normalises by a handful of values,
    which amplifies float32's rounding. More than one of the `outputs` means heads that exist in training only.
    """

    name: str
    write: Callable[[NetSpec, int, bool], object]
    settings: dict[str, Any] = field(default_factory=dict)
    sizes: tuple[int, int] = (64, 128)
    outputs: tuple[str, ...] = ("fc",)
    counted: str = "TEST"
    """The phase in which the net has the parameters that torchvision counts."""

    def net(self, classes: int, phase: str) -> NetParameter:
        n, size = NetSpec(), self.sizes[PHASES.index(phase)]
        n.data = L.Input(shape={"dim": [2, 3, size, size]})
        self.write(n, classes, phase == "TRAIN")
        return n.to_proto()

    def module(self, classes: int, phase: str) -> nn.Module:
        """Torchvision's module with random weights and random statistics."""
        train = phase == "TRAIN"
        heads = {"aux_logits": train, "init_weights": False} if len(self.outputs) > 1 else {}
        module = tv.get_model(self.name, weights=None, num_classes=classes, **self.settings, **heads)
        for norm in (part for part in module.modules() if isinstance(part, nn.BatchNorm2d)):
            nn.init.normal_(norm.running_mean)
            nn.init.uniform_(norm.running_var, 0.5, 1.5)
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias)
        return module.train(train)


CASES = (
    Case("alexnet", lambda n, c, t: alexnet(n, c, 0), {"dropout": 0}, (224, 224), ("fc8",)),
    Case("vgg16", lambda n, c, t: vgg(n, n.data, c, 0), {"dropout": 0}, (224, 224), ("fc8",)),
    Case("resnet18", lambda n, c, t: resnet(n, stem(n, n.data), 18, c)),
    Case("resnet50", lambda n, c, t: resnet(n, stem(n, n.data), 50, c), sizes=(64, 160)),
    Case(
        "googlenet",
        lambda n, c, t: googlenet(n, c, 0, 0, t),
        {"dropout": 0, "dropout_aux": 0},
        sizes=(64, 256),
        outputs=("fc", "aux2/fc", "aux1/fc"),
    ),
    Case("densenet161", lambda n, c, t: densenet(n, n.data, c)),
    Case(
        "squeezenet1_0", lambda n, c, t: squeeze_and_expand(n, n.data, "1.0", c, 0), {"dropout": 0}, outputs=("pool10",)
    ),
    Case(
        "squeezenet1_1", lambda n, c, t: squeeze_and_expand(n, n.data, "1.1", c, 0), {"dropout": 0}, outputs=("pool10",)
    ),
    Case(
        "inception_v3",
        lambda n, c, t: inception_v3(n, c, 0, t),
        {"dropout": 0},
        sizes=(75, 587),
        outputs=("fc", "aux/fc"),
        counted="TRAIN",
    ),
)
EACH = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def blobs(module: nn.Module) -> Iterator[list[Tensor]]:
    """The tensors of every layer in module order as Caffe stores them: statistics with weight 1; slope and bias."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            yield [part.running_mean, part.running_var, torch.ones(1)]
        if isinstance(part, (nn.BatchNorm2d, nn.Conv2d, nn.Linear)):
            yield [part.weight] if part.bias is None else [part.weight, part.bias]


def copy_weights(module: nn.Module, net: Net) -> None:
    """Copy a module's weights into the layers of the same place; every blob must find its like."""
    for own, theirs in zip(net.layer_params.values(), blobs(module), strict=True):
        assert [blob.shape for blob in own] == [tensor.shape for tensor in theirs]
        for blob, tensor in zip(own, theirs, strict=True):
            blob.copy_(tensor)


@EACH
@pytest.mark.parametrize("phase", PHASES)
@torch.no_grad()
def test_outputs_are_torchvisions(case: Case, phase: str) -> None:
    """With torchvision's weights a net gives torchvision's outputs, those of its auxiliary heads too."""
    torch.manual_seed(0)
    module, param = case.module(10, phase), case.net(10, phase)
    net = Net(param, phase)
    copy_weights(module, net)
    # The layout that Net gives its inputs on the CPU: of both sides the same kernels are asked.
    images = torch.randn(*net.blob_shapes["data"]).contiguous(memory_format=torch.channels_last)
    result, out = module(images), net(data=images)
    wanted = dict(zip(case.outputs, [result] if isinstance(result, Tensor) else result, strict=False))
    assert set(out) == set(wanted)
    for name, scores in wanted.items():
        assert (out[name].flatten(1) - scores).abs().max() <= TOLERANCE * scores.abs().max(), name


@EACH
def test_parameter_counts_are_the_published_ones(case: Case) -> None:
    """A net for ImageNet learns as many numbers as torchvision states."""
    published = tv.get_model_weights(case.name).IMAGENET1K_V1.meta["num_params"]
    net = Net(case.net(1000, case.counted), case.counted)
    assert sum(param.numel() for param in net.parameters()) == published


@EACH
def test_texts_read_back_the_same(case: Case) -> None:
    """What the builder writes for a whole network is what its text says."""
    param = case.net(1000, "TRAIN")
    assert parse_net(to_text(param)) == param


def test_compile_speed_is_measured() -> None:
    """The program that times the compiling of 152 layers builds the whole net each time."""
    program = Path(__file__).with_name("compile_speed.py")
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, check=True)
    published = tv.ResNet152_Weights.IMAGENET1K_V1.meta["num_params"]
    lines = done.stdout.splitlines()
    assert lines and all(f"{published} parameters: " in line for line in lines)


class Allocations(TorchDispatchMode):
    """Counts the bytes of all memory that PyTorch's operations newly take on the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = {storage for storage, _ in self._storages((args, kwargs))}
        self.bytes += sum(size for storage, size in self._storages(result) if storage not in given)
        return result

    def _storages(self, tree: Any) -> list[tuple[int, int]]:
        tensors = [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor) and not leaf.is_meta]
        return [(tensor.untyped_storage().data_ptr(), tensor.untyped_storage().nbytes()) for tensor in tensors]


def test_weights_are_allocated_once() -> None:
    """Building a net takes the memory of its blobs and hardly any more, not even for a moment."""
    param = parse_net(resnet152())
    with Allocations() as allocations:
        net = Net(param, "TRAIN")
    size = sum(blob.nbytes for blobs in net.layer_params.values() for blob in blobs)
    assert size <= allocations.bytes <= 1.01 * size
