"""The layer that writes its bottoms into an HDF5 file."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from netspec import DataError, Net, evaluate, parse_net
from netspec.layers import Layer, LayerError

Build = Callable[..., Layer]

TEXT = 'type: "HDF5Output" hdf5_output_param {{ file_name: "{}" }}'
NET = """
layer {
  name: "data" type: "DummyData" top: "data" top: "label"
  dummy_data_param { shape { dim: [4, 6] } shape { dim: 4 } data_filler { type: "gaussian" } data_filler { value: 1 } }
}
layer {
  name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 2 bias_filler { value: 3 } }
}
"""


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with h5py.File(path) as file:
        assert sorted(file) == ["data", "label"]
        return file["data"][...], file["label"][...]


def test_batches_are_appended(build: Build, tmp_path: Path) -> None:
    """Each pass adds its rows, in single precision and with four axes, whatever their number."""
    path = tmp_path / "out.h5"
    layer = build(TEXT.format(path), (4, 3), (4,))
    data, label = torch.randn(10, 3, dtype=torch.float64, requires_grad=True), torch.arange(10.0)
    for first, last in [(0, 4), (4, 8), (8, 10)]:
        assert layer(data[first:last], label[first:last]) is None
    written = read(path)
    assert [array.shape for array in written] == [(10, 3, 1, 1), (10, 1, 1, 1)]
    assert all(array.dtype == np.float32 for array in written)
    np.testing.assert_array_equal(written[0][..., 0, 0], data.detach().float())
    np.testing.assert_array_equal(written[1].ravel(), label)


def test_blobs_of_many_axes_keep_them(build: Build, tmp_path: Path) -> None:
    """More than four axes are written as they are."""
    build(TEXT.format(tmp_path / "out.h5"), (2, 1, 2, 3, 4), (2, 1))(torch.ones(2, 1, 2, 3, 4), torch.ones(2, 1))
    assert read(tmp_path / "out.h5")[0].shape == (2, 1, 2, 3, 4)


def test_an_old_file_is_started_anew(build: Build, tmp_path: Path) -> None:
    """Building the layer leaves a file alone, its first pass replaces it."""
    path = tmp_path / "out.h5"
    build(TEXT.format(path), (2,), (2,))(torch.ones(2), torch.ones(2))
    again = build(TEXT.format(path), (2,), (2,))
    assert len(read(path)[0]) == 2
    again(torch.zeros(1), torch.zeros(1))
    assert read(path)[0].ravel().tolist() == [0]


def test_a_place_that_cannot_be_written(build: Build, tmp_path: Path) -> None:
    """A folder that is not there is named."""
    with pytest.raises(DataError, match=r"none/out.h5 cannot be written: .*No such file"):
        build(TEXT.format(tmp_path / "none" / "out.h5"), (2,), (2,))(torch.ones(2), torch.ones(2))


ERRORS = [
    ('type: "HDF5Output"', (2,), (2,), "file_name is missing", ("hdf5_output_param", "file_name")),
    (TEXT.format("out"), (2, 3), (3,), "bottoms (2, 3) and (3,) differ in their first axis", ("bottom",)),
    (TEXT.format("out"), (), (), "bottoms () and () differ in their first axis", ("bottom",)),
]


@pytest.mark.parametrize(("text", "data", "label", "reason", "field"), ERRORS)
def test_error(
    build: Build, text: str, data: tuple[int, ...], label: tuple[int, ...], reason: str, field: tuple[str, ...]
) -> None:
    """A missing name or unequal numbers of rows are refused."""
    with pytest.raises(LayerError) as error:
        build(text, data, label)
    assert error.value.reason.startswith(reason)
    assert error.value.field == field


def test_a_whole_pass_can_be_read_again(tmp_path: Path) -> None:
    """A test pass over a set writes each of its rows once, the last short batch too, in Caffe's form: HDF5Data hands
    out the same numbers again."""
    rows = np.random.default_rng(0).normal(size=(10, 3, 2, 2)).astype(np.float32)
    with h5py.File(tmp_path / "in.h5", "w") as file:
        file["data"], file["label"] = rows, np.arange(10.0)
    for name in ("in", "out"):
        (tmp_path / name).write_text(f"{tmp_path / name}.h5\n")
    source = 'layer {{ name: "data" type: "HDF5Data" top: "data" top: "label" hdf5_data_param {{ source: "{}" {} }} }}'
    sink = f'layer {{ name: "out" bottom: "data" bottom: "label" {TEXT.format(tmp_path / "out.h5")} }}'
    with closing(Net(parse_net(source.format(tmp_path / "in", "batch_size: 4") + sink))) as net:
        evaluate(net)
    data, label = read(tmp_path / "out.h5")
    np.testing.assert_array_equal(data, rows)
    assert label.shape == (10, 1, 1, 1)
    with closing(Net(parse_net(source.format(tmp_path / "out", "batch_size: 10")))) as net:
        again = net()
    np.testing.assert_array_equal(again["data"], rows)
    np.testing.assert_array_equal(again["label"].ravel(), np.arange(10))


@pytest.mark.parametrize(("bottom", "outputs"), [("label", ()), ("ip", ("label",))])
def test_a_net_runs_it_though_nobody_reads_it(bottom: str, outputs: tuple[str, ...], tmp_path: Path) -> None:
    """A pass over all outputs writes, also where there are none or only the unread label, and so does evaluation; a
    pass that asks for a blob alone does not."""
    path = tmp_path / "out.h5"
    layer = f'layer {{ name: "out" bottom: "ip" bottom: "{bottom}" {TEXT.format(path)} }}'
    net = Net(parse_net(NET + layer))
    assert net.outputs == outputs
    assert not path.exists()
    net()
    net()
    assert len(read(path)[0]) == 8
    evaluate(net)
    data, label = read(path)
    assert (data == 3).all()
    assert (label == (1 if bottom == "label" else 3)).all()
    assert len(data) == 12
    net.close()
