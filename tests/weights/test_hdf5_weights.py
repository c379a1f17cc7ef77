"""Files of .caffemodel.h5: Caffe's own, ours, damaged ones."""

import io
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netspec import Net, SnapshotError
from netspec.schema.netspec_pb2 import LayerParameter
from netspec.weights import read_weights, write_weights

TRAINING = Path(__file__).parents[1] / "golden" / "training"


def test_caffes_hdf5_gives_caffes_scores(net: Net) -> None:
    """The weights that Caffe wrote as HDF5 give Caffe's scores of every test image."""
    for blob in net.state_dict().values():
        blob.zero_()
    report = net.load(TRAINING / "run_iter_100.caffemodel.h5", whole=True)
    assert (report.copied, report.left_over) == (["conv1", "conv2", "bn2", "scale2", "proj", "ip"], [])
    scores = np.load(TRAINING / "curve.npz")["scores"]
    ((_, source),) = net.sources
    with torch.no_grad():
        ours = torch.cat([net(data=data, blobs=["ip"])["ip"] for data, _ in source.once()])
    np.testing.assert_allclose(ours.numpy(), scores, rtol=0, atol=1e-4 * np.abs(scores).max())


def test_hdf5_and_binary_of_one_run_are_the_same() -> None:
    """Both files that Caffe wrote of one net hold the same bits."""
    binary, hdf5 = (read_weights(TRAINING / f"run_iter_100.caffemodel{suffix}") for suffix in ("", ".h5"))
    assert set(binary) == set(hdf5)
    for name, blobs in binary.items():
        assert [(a.shape, a.tobytes()) for a in blobs] == [(a.shape, a.tobytes()) for a in hdf5[name]]


def test_our_file_has_caffes_layout(net: Net, tmp_path: Path) -> None:
    """A group for every layer below /data, a dataset of 32-bit floats for every blob, nothing else."""

    def layout(path: Path) -> dict[str, tuple[object, ...]]:
        found: dict[str, tuple[object, ...]] = {}
        with h5py.File(path) as file:
            file.visititems(
                lambda name, item: found.update({name: (item.shape, item.dtype) if hasattr(item, "shape") else ()})
            )
        return {name: kind for name, kind in found.items() if "_split" not in name}  # Caffe's own layers

    net.save(tmp_path / "x.caffemodel.h5")
    ours, theirs = layout(tmp_path / "x.caffemodel.h5"), layout(TRAINING / "run_iter_100.caffemodel.h5")
    assert ours.pop("data/accuracy") == ()  # Caffe's file is of the train net
    assert ours == theirs


def test_hdf5_is_known_by_its_content(tmp_path: Path) -> None:
    """As in Caffe, the name of an HDF5 file does not matter."""
    content = (TRAINING / "run_iter_100.caffemodel.h5").read_bytes()
    (tmp_path / "x.caffemodel").write_bytes(content)
    assert set(read_weights(tmp_path / "x.caffemodel")) == set(read_weights(TRAINING / "run_iter_100.caffemodel"))


def write(path: Path, fill: Callable[[h5py.File], object]) -> Path:
    with h5py.File(path, "w") as file:
        fill(file)
    return path


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2", "<i4"])
def test_numbers_of_other_types(tmp_path: Path, dtype: str) -> None:
    """Numbers of any type and byte order come as float32; gradients are not looked at."""

    def fill(file: h5py.File) -> None:
        file["data/a/b/0"] = np.array([[1, 2]], dtype)
        file["diff/a/b/0"] = np.array([[3, 4]], dtype)

    found = read_weights(write(tmp_path / "x.h5", fill))
    assert {name: [(b.dtype, b.tolist()) for b in blobs] for name, blobs in found.items()} == {
        "a/b": [(np.float32, [[1, 2]])]
    }


def test_shared_blobs_are_left_out(tmp_path: Path) -> None:
    """A shared blob is written with its owner alone; read, there is nothing at its place."""
    one, two = np.float32([1]), np.float32([2])
    layers = [LayerParameter(name=name) for name in ("a", "b", "c")]
    blobs = {"a": [one, two], "b": [one, two], "c": [one]}
    write_weights(tmp_path / "x.h5", "net", layers, blobs, {("b", 0), ("c", 0)})
    assert read_weights(tmp_path / "x.h5") == {"a": [one, two], "b": [None, two]}


@pytest.mark.parametrize("name", ["", "/", "a//b", "/a", "a/", ".", "a/./b", "a\0b"])
def test_names_that_hdf5_cannot_hold(tmp_path: Path, name: str) -> None:
    """A layer whose name HDF5 would change is refused by name, and nothing is written."""
    with pytest.raises(SnapshotError, match=r'x\.h5: cannot be written: the layer name ".*" cannot be one in HDF5: '):
        write_weights(tmp_path / "x.h5", "net", [], {name: [np.float32([1])]})
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("names", [("a", "a/0"), ("a/0", "a")])
def test_a_layer_named_as_a_blob(tmp_path: Path, names: tuple[str, str]) -> None:
    """Two layers of which one would stand where the other's blob stands are refused."""
    with pytest.raises(SnapshotError, match=r'the layer name "a.*" cannot be one in HDF5'):
        write_weights(tmp_path / "x.h5", "net", [], {name: [np.float32([1])] for name in names})


def link_elsewhere(file: h5py.File) -> None:
    file.create_group("data")["ip"] = h5py.ExternalLink("other.h5", "/data/ip")


def store_elsewhere(file: h5py.File) -> None:
    file.create_dataset("data/ip/0", (2,), "<f4", external=[("other.raw", 0, 8)])


WRONG: dict[str, tuple[Callable[[h5py.File], object], str]] = {
    "Keras": (lambda file: file.create_group("model_weights"), "no HDF5 file of Caffe's weights: they are in a group"),
    "data of HDF5Data": (lambda file: file.create_dataset("data", (2, 3), float), "no HDF5 file of Caffe's weights"),
    "no index": (lambda file: file.create_dataset("data/ip/w", (2,), float), '"ip/w" is not of the form LAYER/0'),
    "no layer": (lambda file: file.create_dataset("data/0", (2,), float), '"0" is not of the form LAYER/0'),
    "texts": (lambda file: file.create_dataset("data/ip/0", data="text"), "no HDF5 file of weights, or it is damaged"),
    "huge": (
        lambda file: file.create_dataset("data/ip/0", (2**40,), float, chunks=(1024,)),
        "the numbers of ip/0 are not in",
    ),
    "other file": (store_elsewhere, "the numbers of ip/0 are not in the file"),
}


@pytest.mark.parametrize("form", WRONG)
def test_hdf5_files_of_other_things(tmp_path: Path, form: str) -> None:
    """An HDF5 file that holds no weights of Caffe's is refused with its path, before much memory is taken."""
    fill, reason = WRONG[form]
    with pytest.raises(SnapshotError, match=rf"x\.h5: .*{reason}"):
        read_weights(write(tmp_path / "x.h5", fill))


def test_links_into_other_files_are_not_followed(tmp_path: Path) -> None:
    """A weights file is one file."""
    write(tmp_path / "other.h5", lambda file: file.create_dataset("data/ip/0", (2,), float))
    assert read_weights(write(tmp_path / "x.h5", link_elsewhere)) == {}


def test_truncated_anywhere(tmp_path: Path) -> None:
    """A file that ends too early is refused wherever that is."""
    whole = (TRAINING / "run_iter_100.caffemodel.h5").read_bytes()
    for size in [*range(0, len(whole), 199), len(whole) - 1]:
        (tmp_path / "x.h5").write_bytes(whole[:size])
        with pytest.raises(SnapshotError, match=r"x\.h5: this is no HDF5 file of weights, or it is damaged"):
            read_weights(tmp_path / "x.h5")


def small_file() -> bytes:
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file["data/ip/0"] = np.float32([1, 2])
    return content.getvalue()


SMALL = small_file()


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(SMALL) - 1), st.integers(0, 255))
def test_changed_bytes(tmp_path: Path, place: int, new: int) -> None:
    """Whatever byte is changed, a file is read or refused; nothing else happens."""
    content = bytearray(SMALL)
    content[place] = new
    (tmp_path / "x.h5").write_bytes(content)
    try:
        read_weights(tmp_path / "x.h5")
    except SnapshotError as error:
        assert "x.h5" in str(error)
