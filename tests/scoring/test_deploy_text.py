"""The deploy view as a text."""

import numpy as np
import pytest
import torch
from small_net import TEXT

from netspec import Net, SpecError
from netspec.scoring import Scorer
from netspec.scoring.deploy_text import deploy_text


def test_the_same_scores(folder, saved):
    """The text with the trained weights gives the scores of the train/test net; its input has the data's shape."""
    deploy = saved(deploy_text(folder / "net.prototxt", None, {}), "deploy.prototxt")
    net = Net(deploy, weights=folder / "net.caffemodel")
    assert (net.blob_shapes["data"], net.outputs) == ((1, 3, 5, 5), ("prob",))
    ((_, source),) = Net(folder / "net.prototxt").sources
    with torch.no_grad():
        scores = torch.cat([net(data=data, blobs=["ip"])["ip"] for data, _ in source.once()])
    expected = Scorer(folder / "net.prototxt", folder / "net.caffemodel").scores().scores
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_a_comment_on_the_images(folder):
    """The text begins with where it comes from and how the TEST data layer prepared the images."""
    first, second = deploy_text(folder / "net.prototxt", None, {}).splitlines()[:2]
    assert first == f"# The deploy view of {folder}/net.prototxt."
    assert second.startswith(
        '# Layer "data" prepared the images: transform_param { scale: 0.01 crop_size: 5 mean_value: 90'
    )


def test_a_shape_that_is_given(folder, saved):
    """A given shape wins; where the data is not there it must come from somewhere."""
    assert "dim: 227" in deploy_text(folder / "net.prototxt", None, {"data": (1, 3, 227, 227)})
    text = TEXT.replace("test_lmdb", "gone_lmdb").replace("mean_value: [90, 100, 110]", "")
    with pytest.raises(SpecError, match=r'the shape of the input "data" is not in the file'):
        deploy_text(saved(text), None, {})
    assert "dim: 7" in deploy_text(saved(text), None, {"data": (1, 3, 7, 7)})


def test_of_a_caffemodel(folder):
    """A .caffemodel has a view too, of the size that it tells."""
    text = deploy_text(folder / "net.caffemodel", None, {})
    assert text.count("layer {") == 4
    assert "dim: 5" in text
