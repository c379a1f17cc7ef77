"""Dropout in training, and slopes without a filler."""

import pytest
import torch


def test_dropout(build):
    """In training a share dropout_ratio of the values is 0 and the others are scaled so that the mean stays."""
    torch.manual_seed(0)
    layer = build('type: "Dropout" dropout_param { dropout_ratio: 0.7 }', (100_000,), phase="TRAIN")
    y = layer(torch.ones(100_000))
    assert y.unique().tolist() == pytest.approx([0, 1 / 0.3])
    assert (y == 0).float().mean().item() == pytest.approx(0.7, abs=0.01)
    assert y.mean().item() == pytest.approx(1, abs=0.02)


def test_prelu_filler(build):
    """The slope is filled with 0.25 where the text names no filler."""
    filler = build('type: "PReLU"', (2, 3)).blob_fillers["slope"]
    assert (filler.type, filler.value) == ("constant", 0.25)
    named = build('type: "PReLU" prelu_param { filler { value: 0.1 } }', (2, 3)).blob_fillers["slope"]
    assert named.value == pytest.approx(0.1)
