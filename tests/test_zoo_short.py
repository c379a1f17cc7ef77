"""The nets of the zoo that are written by hand: their counts, shapes and scores are those of torch.nn's own layers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision.models as tv
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from netspec import Net, read_net
from netspec.check import check
from netspec.schema.netspec_pb2 import LayerParameter, NetParameter

ROOT = Path(__file__).parents[1]
SIZES = {
    "nin_b": 48, "nin_nocrop": 64, "nin_prelu": 48, "alexnet_head1000": 64, "linear": 64, "cnn2": 64, "cnn_multi": 64,
    "resnet_cnn": 64, "m1": 64, "m4": 64, "bvlc_alexnet": 227,
}  # fmt: skip

# weights and biases of each convolution or product, worked by hand
COUNTS = {
    "nin_b": 1_003_656,
    "nin_nocrop": 1_003_656,
    "nin_prelu": 1_003_656 + 192 + 160 + 96 + 3 * 192 + 192 + 192 + 200,
    "alexnet_head1000": 23_296 + 307_392 + 663_936 + 884_992 + 590_080  # convolutions
    + 256 * 4096 + 4096 + 4096 * 4096 + 4096 + 4096 * 1000 + 1000 + 1000 * 200 + 200,
    "linear": 64 * 64 * 3 * 200 + 200,
    "cnn2": 896 + 18_496 + 16 * 16 * 64 * 200 + 200,
    "cnn_multi": 896 + 18_496 + 73_856 + 295_168 + 4 * 4 * 256 * 200 + 200,
    "resnet_cnn": 1_728 + 128 + 2 * (36_864 + 128) + 73_728 + 147_456 + 8_192 + 3 * 256 + 128 * 200 + 200,
    "m1": 1_216 + 2_320 + 4_640 + 6 * 6 * 32 * 256 + 256 + 256 * 200 + 200,
    "m4": 2_432 + 25_632 + 18_496 + 2 * 36_928 + 73_856 + 4 * 4 * 128 * 256 + 256 + 256 * 200 + 200,
    "bvlc_alexnet": 60_965_224,
}  # fmt: skip

# the heights of the square maps, layer by layer
HEIGHTS = {
    "nin_b": {"conv1": 48, "pool1": 24, "pool2": 12, "cccp6": 12},
    "nin_nocrop": {"conv1": 64, "pool1": 32, "pool2": 16, "cccp6": 16},
    "nin_prelu": {"conv1": 48, "pool1": 24, "pool2": 12, "cccp6": 12},
    "alexnet_head1000": {"conv1": 15, "pool1": 7, "pool2": 3, "conv5": 3, "pool5": 1},
    "cnn2": {"conv1": 64, "pool1": 32, "pool2": 16},
    "cnn_multi": {"pool1": 32, "pool2": 16, "pool3": 8, "pool4": 4},
    "resnet_cnn": {"conv1": 64, "pool1": 32, "res1": 32, "res2": 16},
    "m1": {"conv1": 60, "pool1": 30, "conv2": 28, "pool2": 14, "conv3": 12, "pool3": 6},
    "m4": {
        "conv1_1": 60, "conv1_2": 56, "pool1": 28, "conv2_1": 26, "conv2_2": 24, "pool2": 12, "conv3_1": 10,
        "conv3_2": 8, "pool3": 4,
    },
    "bvlc_alexnet": {"conv1": 55, "pool1": 27, "conv2": 27, "pool2": 13, "conv3": 13, "conv5": 13, "pool5": 6},
}  # fmt: skip

# bvlc_alexnet's blobs, by the names of the public .caffemodel
BLOBS = {
    "conv1": (96, 3, 11, 11), "conv2": (256, 48, 5, 5), "conv3": (384, 256, 3, 3), "conv4": (384, 192, 3, 3),
    "conv5": (256, 192, 3, 3), "fc6": (4096, 9216), "fc7": (4096, 4096), "fc8": (1000, 4096),
}  # fmt: skip
ORDER = [
    "data", "conv1", "relu1", "norm1", "pool1", "conv2", "relu2", "norm2", "pool2", "conv3", "relu3", "conv4", "relu4",
    "conv5", "relu5", "pool5", "fc6", "relu6", "drop6", "fc7", "relu7", "drop7", "fc8",
]  # fmt: skip


def path(name: str) -> Path:
    return ROOT / "zoo" / f"{name}.prototxt"


def built(name: str, phase: str, batch: int = 2) -> Net:
    size = SIZES[name]
    return Net(path(name), phase, shapes={"data": (batch, 3, size, size), "label": (batch,)})


def scores(net: Net) -> str:
    return net.graph.nodes[-1].bottoms[0]


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_counts_and_shapes(name: str, phase: str) -> None:
    """In both phases a net has the parameters that the formulas give, and maps of the sizes that its comment gives."""
    net = built(name, phase)
    assert sum(blob.numel() for blob in net.parameters()) == COUNTS[name]
    assert {blob: net.blob_shapes[blob][2:] for blob in HEIGHTS.get(name, {})} == {
        blob: (height, height) for blob, height in HEIGHTS.get(name, {}).items()
    }
    classes = 1000 if name == "bvlc_alexnet" else 200
    assert net.blob_shapes[scores(net)] in {(2, classes), (2, classes, 1, 1)}
    assert set(net.outputs) == ({"loss"} if phase == "TRAIN" else {"loss", "accuracy"})


@pytest.mark.parametrize("name", SIZES)
def test_comments_count(name: str) -> None:
    """The comment on top of a file says how many parameters the net has, what was published and what it reached."""
    comment = [line for line in path(name).read_text().splitlines() if line.startswith("# ")]
    assert any(line.startswith(f"# Parameters: {COUNTS[name]:,}") for line in comment)
    assert {"# Source:", "# Published:"} <= {" ".join(line.split()[:2]) for line in comment}
    assert "Reached:" in " ".join(comment)


def convolved(*widths: int, kernels: tuple[int, ...], pooled: tuple[int, ...], pad: int = 0) -> list[nn.Module]:
    """Convolutions and their ReLUs, of which the ones of some numbers are followed by a pooling."""
    modules: list[nn.Module] = []
    for number, (before, width, kernel) in enumerate(zip(widths, widths[1:], kernels, strict=False)):
        modules += [nn.Conv2d(before, width, kernel, padding=pad), nn.ReLU()]
        modules += [nn.MaxPool2d(2)] * (number in pooled)
    return [*modules, nn.Flatten()]


def headed(features: int) -> list[nn.Module]:
    return [nn.Linear(features, 256), nn.ReLU(), nn.Linear(256, 200)]


def alexnet() -> nn.Module:
    return nn.Sequential(tv.alexnet(weights=None), nn.Linear(1000, 200))


TORCH: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(12_288, 200)),
    "cnn2": lambda: nn.Sequential(
        *convolved(3, 32, 64, kernels=(3, 3), pooled=(0, 1), pad=1), nn.Linear(16_384, 200)
    ),
    "cnn_multi": lambda: nn.Sequential(
        *convolved(3, 32, 64, 128, 256, kernels=(3,) * 4, pooled=(0, 1, 2, 3), pad=1), nn.Linear(4_096, 200)
    ),
    "m1": lambda: nn.Sequential(*convolved(3, 16, 16, 32, kernels=(5, 3, 3), pooled=(0, 1, 2)), *headed(1_152)),
    "m4": lambda: nn.Sequential(
        *convolved(3, 32, 32, 64, 64, 64, 128, kernels=(5, 5, 3, 3, 3, 3), pooled=(1, 3, 5)), *headed(2_048)
    ),
    "alexnet_head1000": alexnet,
}  # fmt: skip


def copy_parameters(net: Net, module: nn.Module) -> None:
    """Put a net's parameters into a torch module, in their order. A product that reads copies there takes its weights'
    share for each."""
    for own, theirs in zip(net.parameters(), module.parameters(), strict=True):
        copies = theirs.numel() // own.numel()
        assert copies == 1 or theirs.dim() == 2
        theirs.data.copy_(own.detach().repeat_interleave(copies, dim=1) / copies if copies > 1 else own.detach())


def given(size: int) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {"data": torch.randn(2, 3, size, size), "label": torch.tensor([3, 7])}


@pytest.mark.parametrize("name", TORCH)
def test_scores_are_torchs(name: str) -> None:
    """A net scores images as the network of torch.nn's layers with its parameters does; torchvision's AlexNet, with one
    layer more, reads 36 copies of what ours reads once."""
    net, module = built(name, "TEST"), TORCH[name]().eval()
    for blob in net.parameters():  # the linear one begins with 0
        nn.init.normal_(blob, std=0.05)
    copy_parameters(net, module)
    inputs = given(SIZES[name])
    with torch.no_grad():
        own = net(**inputs, blobs=(scores(net),))[scores(net)]
        torch.testing.assert_close(own, module(inputs["data"]), rtol=1e-3, atol=1e-3)


def residual() -> nn.Module:
    """A convolution, torchvision's blocks, and a product."""
    first = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    shortcut = nn.Sequential(nn.Conv2d(64, 128, 1, stride=2, bias=False), nn.BatchNorm2d(128))
    blocks = BasicBlock(64, 64), BasicBlock(64, 128, stride=2, downsample=shortcut)
    start = first, nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2)
    return nn.Sequential(*start, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 200))


def test_residual_layers_are_torchvisions() -> None:
    """resnet_cnn in training scores as torchvision's basic blocks do; its shortcut comes first, theirs last."""
    net, module = built("resnet_cnn", "TRAIN"), residual()
    own = list(net.parameters())
    shortcut = own[9:12]
    assert shortcut[0].shape == (128, 64, 1, 1)
    ordered = [*own[:9], *own[12:18], *shortcut, *own[18:]]
    for blob, theirs in zip(ordered, module.parameters(), strict=True):
        theirs.data.copy_(blob.detach())
    inputs = given(64)
    result = net(**inputs, blobs=(scores(net),))[scores(net)]
    torch.testing.assert_close(result, module(inputs["data"]), rtol=1e-3, atol=1e-4)


def layers(net: NetParameter) -> list[LayerParameter]:
    """Those behind the data."""
    return [layer for layer in net.layer if layer.type != "Data"]


def test_the_second_nin_differs_in_dropout() -> None:
    """nin_b is nin with another ratio of dropout, both times, and nothing else."""
    first, second = (read_net(path(name)) for name in ("nin", "nin_b"))
    for layer in second.layer:
        if layer.type == "Dropout":
            assert layer.dropout_param.dropout_ratio != 0.5
            layer.dropout_param.dropout_ratio = 0.5
    assert list(second.layer) == list(first.layer)


def test_the_third_nin_differs_in_the_crop() -> None:
    """nin_nocrop is nin without the crop, in both phases, and nothing else."""
    first, third = (read_net(path(name)) for name in ("nin", "nin_nocrop"))
    assert not any(layer.transform_param.crop_size for layer in third.layer)
    for layer in first.layer:
        if layer.type == "Data":
            layer.transform_param.ClearField("crop_size")
    assert list(third.layer) == list(first.layer)


def test_prelu_without_slopes_is_relu() -> None:
    """nin_prelu with slopes of 0 scores as nin does with the same weights; its slopes are not decayed, and begin at
    0.25."""
    size = {"data": (2, 3, 48, 48), "label": (2,)}
    first, other = Net(path("nin"), "TEST", shapes=size), built("nin_prelu", "TEST")
    slopes = [blob for blob in other.params if blob.tensor.dim() == 1 and blob.layer.startswith("prelu")]
    assert len(slopes) == 9
    for slope in slopes:
        assert slope.decay_mult == 0
        assert torch.all(slope.tensor == 0.25)
        slope.tensor.data.zero_()
    for name, blobs in first.layer_params.items():
        for own, theirs in zip(other.layer_params[name], blobs, strict=True):
            own.data.copy_(theirs)
    inputs = given(48)
    with torch.no_grad():
        a, b = (net(**inputs, blobs=("pool3",))["pool3"] for net in (first, other))
    torch.testing.assert_close(a, b)
    assert a.abs().max() > 0


@pytest.mark.parametrize("name", ["m1", "m4", "alexnet_head1000"])
def test_fillers_are_pytorchs(name: str) -> None:
    """Weights and biases are drawn up to 1 / sqrt(fan_in), to the four digits of the text."""
    net = built(name, "TRAIN")
    for layer in layers(read_net(path(name))):
        if layer.type in ("Convolution", "InnerProduct"):
            param = layer.convolution_param if layer.type == "Convolution" else layer.inner_product_param
            bound = net.layer_params[layer.name][0][0].numel() ** -0.5
            for filler in (param.weight_filler, param.bias_filler):
                assert (filler.type, filler.min) == ("uniform", -filler.max)
                assert filler.max == pytest.approx(bound, rel=1e-3)


def test_the_first_set_alone() -> None:
    """In its stage "set1" m1 has one copy of each training image, else two."""
    data = [layer for layer in read_net(path("m1")).layer if layer.type == "Data"]
    both, first, best, test = data
    assert (len(both.transform_param.copy), len(first.transform_param.copy)) == (1, 0)
    stages = [*first.include[0].stage, *best.include[0].stage]
    assert list(both.include[0].not_stage) == stages == ["set1", "best"]
    both.transform_param.ClearField("copy")
    assert both.transform_param == first.transform_param
    assert test.transform_param.mirror is False


def test_public_weights_have_a_place() -> None:
    """bvlc_alexnet's layers have the names, order and shapes of Caffe's own; LRN comes before the pooling."""
    net = built("bvlc_alexnet", "TEST", batch=1)
    assert [node.param.name for node in net.graph.nodes][: len(ORDER)] == ORDER
    shapes = {name: [tuple(blob.shape) for blob in blobs] for name, blobs in net.layer_params.items() if blobs}
    assert shapes == {name: [shape, shape[:1]] for name, shape in BLOBS.items()}


@pytest.mark.parametrize("name", SIZES)
def test_nothing_is_found_but_notes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """tools/check.py refuses nothing and warns of nothing, in net and solver."""
    monkeypatch.chdir(ROOT)
    files = [Path("zoo", f"{name}.prototxt"), Path("solvers", f"{name}.solver")]
    reports = check([file for file in files if file.is_file()])
    assert {finding.severity for report in reports for finding in report.findings} <= {"note"}
