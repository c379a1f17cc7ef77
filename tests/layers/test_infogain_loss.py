"""InfogainLoss: its matrix, in a bottom or a file, and the floor."""

import numpy as np
import pytest
import torch

import netspec
from netspec.errors import SpecError
from netspec.layers import LayerError
from netspec.schema.netspec_pb2 import BlobProto, BlobShape

TEXT = 'type: "InfogainLoss" top: "y"'
MATRIX = np.random.default_rng(0).random((3, 3), np.float32)

NET = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: [4, 3] } } }
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 4 } } }
layer {
  name: "loss" type: "InfogainLoss" bottom: "x" bottom: "label" top: "loss"
  infogain_loss_param { source: "gain.binaryproto" }
}
"""


def matrix_file(path, **fields):
    path.write_bytes(BlobProto(**fields).SerializeToString())
    return path


@pytest.mark.parametrize(
    "fields",
    [
        {"num": 1, "channels": 1, "height": 3, "width": 3, "data": MATRIX.ravel()},
        {"shape": BlobShape(dim=[3, 3]), "double_data": MATRIX.ravel()},
    ],
    ids=["old", "double"],
)
def test_matrix_of_a_file(build, tmp_path, fields):
    """A file gives the loss that the same matrix gives as a third bottom."""
    matrix_file(tmp_path / "gain", **fields)
    layer = build(f'{TEXT} infogain_loss_param {{ source: "gain" }}', (4, 3), (4,))
    layer.open_files(lambda name: tmp_path / name)
    scores, labels = torch.randn(4, 3), torch.tensor([0.0, 1, 2, 2])
    expected = build(TEXT, (4, 3), (4,), (3, 3))(scores, labels, torch.from_numpy(MATRIX))
    torch.testing.assert_close(layer(scores, labels), expected)


def test_in_a_net(tmp_path):
    """The file lies beside the net's text; its values are no blob of the layer and go into no weights file."""
    (tmp_path / "net.prototxt").write_text(NET)
    matrix_file(tmp_path / "gain.binaryproto", data=np.eye(3).ravel())
    net = netspec.Net(tmp_path / "net.prototxt", "TRAIN")
    scores, labels = torch.randn(4, 3), torch.tensor([0.0, 1, 2, 2])
    loss = net(x=scores, label=labels)["loss"]
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(scores, labels.long()))
    assert not net.layer_params
    assert not net.state_dict()


def test_file_not_there(tmp_path):
    """A file that is not there is a SpecError at the field that names it."""
    (tmp_path / "net.prototxt").write_text(NET)
    with pytest.raises(SpecError, match=r'"gain.binaryproto" is not there') as error:
        netspec.Net(tmp_path / "net.prototxt")
    assert (error.value.line, error.value.column) == (6, 25)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xff\xff", r"gain is no matrix file: it does not parse as a BlobProto"),
        (BlobProto(data=[1, 2]).SerializeToString(), r'"gain" has 2 values; 3 classes need 9'),
        (None, r"gain: the matrix cannot be read: Is a directory"),
    ],
)
def test_wrong_file(build, tmp_path, content, reason):
    """A file that is no matrix, or one of another size, is refused."""
    (tmp_path / "gain").write_bytes(content) if content else (tmp_path / "gain").mkdir()
    layer = build(f'{TEXT} infogain_loss_param {{ source: "gain" }}', (4, 3), (4,))
    with pytest.raises(LayerError, match=reason) as error:
        layer.open_files(lambda name: tmp_path / name)
    assert error.value.field == ("infogain_loss_param", "source")


def test_a_third_bottom_goes_before_the_source(build, tmp_path):
    """With three bottoms the file is not opened."""
    layer = build(f'{TEXT} infogain_loss_param {{ source: "none" }}', (4, 3), (4,), (9,))
    layer.open_files(lambda name: pytest.fail("opened"))
    assert layer(torch.zeros(4, 3), torch.zeros(4), torch.ones(9)).item() == pytest.approx(3 * np.log(3))


def test_floor(build):
    """A probability below 1e-20 costs what 1e-20 does, and the gradient stays p sum(H) - H."""
    scores = torch.tensor([[0.0, 1e4]], requires_grad=True)
    layer = build(TEXT, (1, 2), (1,), (2, 2))
    loss = layer(scores, torch.zeros(1), torch.tensor([[2.0, 1], [0, 0]]))
    assert loss.item() == pytest.approx(40 * np.log(10), rel=1e-6)
    loss.backward()
    assert scores.grad.tolist() == [[-2, 2]]
