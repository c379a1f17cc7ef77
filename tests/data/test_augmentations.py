"""The augmentations of the studies of Tiny ImageNet, run on generated colour images."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from netspec import Net
from netspec.data.datum import raw_datum
from netspec.data.lmdb_store import write_lmdb
from netspec.data.mean import compute_mean, write_mean

FOLDER = Path(__file__).parents[1] / "augmentations"
COUNT = 300
EXPECTED = {"nin": (48, 1), "inception": (64, 2), "vgg": (64, 1), "resnet": (64, 1), "densenet": (64, 2)}
"""The side of the images that the net sees, and how often each image comes in an epoch."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A training set of smooth random images, 3x64x64, labelled by their number, its mean, and the texts beside it."""
    folder = tmp_path_factory.mktemp("augmentations")
    coarse = torch.from_numpy(np.random.default_rng(0).random((COUNT, 3, 6, 6), np.float32)) * 255
    images = torch.nn.functional.interpolate(coarse, (64, 64), mode="bilinear").round().to(torch.uint8).numpy()
    data = (raw_datum(image, label) for label, image in enumerate(images))
    write_lmdb(folder / "train_lmdb", ((b"%08d" % i, datum.SerializeToString()) for i, datum in enumerate(data)))
    write_mean(folder / "mean.binaryproto", compute_mean(images))
    for path in FOLDER.glob("*.prototxt"):
        shutil.copy(path, folder)
    return folder


def batches(net, count):
    """Images and labels of the next batches."""
    made = [net() for _ in range(count)]
    return torch.cat([tops["data"] for tops in made]), torch.cat([tops["label"] for tops in made]).int()


@pytest.mark.parametrize("name", EXPECTED)
def test_runs(folder, monkeypatch, name):
    """An epoch has the stated number of records, in batches of the stated shape, no image like another; a second run is
    the same to the bit."""
    monkeypatch.chdir(folder)
    side, copies = EXPECTED[name]
    runs = [Net(f"{name}.prototxt", "TRAIN", device="cpu") for _ in range(2)]
    first, again = (batches(net, 2 * copies * COUNT // 100) for net in runs)
    assert first[0].shape[1:] == (3, side, side)
    assert torch.equal(first[0], again[0])
    labels = first[1][: COUNT * copies]
    assert torch.equal(labels.bincount(), torch.full((COUNT,), copies))
    assert len(first[0][:200].flatten(1).unique(dim=0)) == 200
    for net in runs:
        net.close()
