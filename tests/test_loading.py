"""Which blobs of a file go where, and what is said of those that go nowhere."""

from pathlib import Path

import numpy as np
import pytest
import torch

from netspec import Net, SnapshotError, parse_net
from netspec.schema.netspec_pb2 import LayerParameter
from netspec.weights import read_weights, write_weights

INPUT = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [1, 2, 4, 4] } } }\n'
FILES = ["x.caffemodel", "x.caffemodel.h5", "x.safetensors"]


def net(*layers: str) -> Net:
    """A net of layers that each read "data"."""
    return Net(parse_net(INPUT + "".join(f'layer {{ bottom: "data" {layer} }}\n' for layer in layers)))


def ip(name: str, outputs: int = 3, more: str = "") -> str:
    return (
        f'name: "{name}" type: "InnerProduct" top: "{name}" {more} inner_product_param {{ num_output: {outputs}'
        ' weight_filler { type: "gaussian" } bias_filler { type: "gaussian" } }'
    )


def write(path: Path, **blobs: list[tuple[int, ...]]) -> Path:
    """A file with blobs of these shapes by layer name, all ones."""
    layers = [LayerParameter(name=name) for name in blobs]
    write_weights(
        path, "net", layers, {name: [np.ones(s, np.float32) for s in shapes] for name, shapes in blobs.items()}
    )
    return path


# --- several files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", FILES)
def test_later_files_win(tmp_path: Path, file: str) -> None:
    """Of several files with commas between them the later ones win; the report is of all together."""
    one, two, both = (
        net(ip("a"), ip("b"), ip("x")),
        net(ip("b"), ip("c"), ip("y")),
        net(ip("a"), ip("b"), ip("c"), ip("d")),
    )
    one.save(tmp_path / f"1{file}")
    two.save(tmp_path / f"2{file}")
    report = both.load(f"{tmp_path}/1{file}, {tmp_path}/2{file}")
    assert (report.copied, report.absent, report.left_over) == (["a", "b", "c"], ["d"], ["x", "y"])
    for name, source in (("a", one), ("b", two), ("c", two)):
        assert torch.equal(both.layer_params[name][0], source.layer_params[name][0])


def test_whole_is_over_all_files(tmp_path: Path) -> None:
    """With `whole` each layer must be in some file; which lack is said with nothing copied."""
    first, second = write(tmp_path / "1.caffemodel", a=[(3, 32), (3,)]), write(tmp_path / "2.h5", b=[(3, 32), (3,)])
    net(ip("a"), ip("b")).load(f"{first},{second}", whole=True)
    three = net(ip("a"), ip("b"), ip("c"))
    with pytest.raises(SnapshotError, match=r"1\.caffemodel,.*2\.h5: weights of another net: they lack c"):
        three.load(f"{first},{second}", whole=True)
    assert not (three.layer_params["a"][0] == 1).all()


@pytest.mark.parametrize(
    ("second", "reason"),
    [({"c": [(1,)]}, r"2\.h5: no layer of this net is in it"), ({"b": [(1, 1), (3,)]}, r"2\.h5: blob 0 of layer .b.")],
)
def test_each_file_must_fit(tmp_path: Path, second: dict[str, list[tuple[int, ...]]], reason: str) -> None:
    """A file that does not fit is refused by its own name, and those before it are not copied either."""
    first = write(tmp_path / "1.caffemodel", a=[(3, 32), (3,)])
    target = net(ip("a"), ip("b"))
    with pytest.raises(SnapshotError, match=reason):
        target.load(f"{first},{write(tmp_path / '2.h5', **second)}")
    assert not (target.layer_params["a"][0] == 1).any()


def test_what_does_not_fit_wins_over_nothing(tmp_path: Path) -> None:
    """Without `strict` a layer that misfits in a later file keeps what an earlier one gave."""
    files = [write(tmp_path / "1.h5", a=[(3, 32), (3,)]), write(tmp_path / "2.h5", a=[(3, 31), (3,)])]
    target = net(ip("a"))
    assert target.load(",".join(map(str, files)), strict=False).copied == ["a"]
    assert (target.layer_params["a"][0] == 1).all()


# --- what fits -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shapes", "reason"),
    [
        (
            [(3, 2, 4, 4), (3,)],
            r'blob 0 of layer "a" has shape \(3, 32\) here and \(3, 2, 4, 4\) there; as many values: rename the layer,'
            " or reshape the stored blob$",
        ),
        ([(3, 31), (3,)], r'blob 0 of layer "a" has shape \(3, 32\) here and \(3, 31\) there$'),
        ([(3, 32), (3, 1)], r"has shape \(3,\) here and \(3, 1\) there; as many values: rename the layer"),
        ([(3, 32)], 'layer "a" has 2 blobs here and 1 there$'),
        ([(3, 32), (3,), (3,)], 'layer "a" has 2 blobs here and 3 there$'),
    ],
)
@pytest.mark.parametrize("file", FILES)
def test_what_does_not_fit(tmp_path: Path, file: str, shapes: list[tuple[int, ...]], reason: str) -> None:
    """The counts of blobs and all shapes must agree; where as many values are stored, the way out is named."""
    with pytest.raises(SnapshotError, match=reason):
        net(ip("a")).load(write(tmp_path / file, a=shapes))


def test_old_shapes_fit(tmp_path: Path) -> None:
    """Ones in front do not count, as in the four sizes of old files."""
    target = net(ip("a"))
    target.load(write(tmp_path / "x.caffemodel", a=[(1, 1, 3, 32), (1, 1, 1, 3)]))
    assert all((blob == 1).all() for blob in target.layer_params["a"])


# --- BatchNorm of NVIDIA's fork --------------------------------------------------------------------------------------

NORM = 'name: "bn" type: "BatchNorm" top: "bn"'


@pytest.mark.parametrize("file", FILES)
def test_weight_0_of_statistics(tmp_path: Path, file: str, caplog: pytest.LogCaptureFixture) -> None:
    """Statistics with the weight 0 count as they are, which is said once for all layers; others are left alone."""
    arrays = {"mean": np.float32([1, 2]), "variance": np.float32([4, 9]), "zero": np.zeros(2, np.float32)}
    one, none = np.ones(1, np.float32), np.zeros(1, np.float32)
    blobs = {
        "bn": [arrays["mean"], arrays["variance"], none],
        "bn2": [arrays["zero"], arrays["variance"], none],
        "kept": [arrays["mean"], arrays["variance"], one * 3],
        "untrained": [arrays["zero"], arrays["zero"], none],
    }
    write_weights(tmp_path / file, "net", [LayerParameter(name=name) for name in blobs], blobs)
    target = net(*(f'name: "{name}" type: "BatchNorm" top: "{name}"' for name in blobs))
    target.load(tmp_path / file)
    assert {name: float(params[2]) for name, params in target.layer_params.items()} == {
        "bn": 1, "bn2": 1, "kept": 3, "untrained": 0,
    }  # fmt: skip
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == ["bn, bn2: statistics with the weight 0, as NVIDIA's fork writes them: the weight was set to 1"]
    y = target(data=torch.full((1, 2, 4, 4), 5.0), blobs=["bn"])["bn"]
    np.testing.assert_allclose(y[0, :, 0, 0], [4 / 2, 3 / 3], rtol=1e-4)


def test_five_blobs(tmp_path: Path) -> None:
    """A BatchNorm with a slope and a bias in its file needs the field that makes room for them."""
    path = write(tmp_path / "x.caffemodel", bn=[(2,), (2,), (1,), (2,), (2,)])
    with pytest.raises(SnapshotError, match=r"3 blobs here and 5 there, scale and bias too: .* \{ scale_bias: true \}"):
        net(NORM).load(path)
    assert net(f"{NORM} batch_norm_param {{ scale_bias: true }}").load(path).copied == ["bn"]


# --- shared blobs ----------------------------------------------------------------------------------------------------

SHARED = (
    ip("a", more='param { name: "w" } param { name: "b" }'),
    ip("b", more='param { name: "w" }'),
    ip("c", more='param { name: "w" } param { name: "b" }'),
)


@pytest.mark.parametrize("file", FILES)
def test_shared_blobs(tmp_path: Path, file: str) -> None:
    """A net with shared blobs loads what it saved, with no layer said to be absent."""
    one, two = net(*SHARED), net(*SHARED)
    one.save(tmp_path / file)
    report = two.load(tmp_path / file, whole=True)
    assert (report.absent, report.left_over) == ([], [])
    for name, blobs in one.layer_params.items():
        assert all(torch.equal(a, b) for a, b in zip(blobs, two.layer_params[name], strict=True))


def test_where_shared_blobs_are_stored(tmp_path: Path) -> None:
    """As in Caffe a binary file has a shared blob with each of its layers, an HDF5 file with its owner alone."""
    for file, counts in (("x.caffemodel", {"a": 2, "b": 2, "c": 2}), ("x.h5", {"a": 2, "b": 1})):
        net(*SHARED).save(tmp_path / file)
        found = read_weights(tmp_path / file)
        assert {name: sum(blob is not None for blob in blobs) for name, blobs in found.items()} == counts


def test_a_blob_that_is_not_shared_must_be_there(tmp_path: Path) -> None:
    """What an HDF5 file leaves out must be shared in the net too."""
    net(*SHARED).save(tmp_path / "x.h5")
    with pytest.raises(SnapshotError, match='layer "b" has 2 blobs here and 0 there'):
        net(ip("a"), ip("b")).load(tmp_path / "x.h5")
