"""Weight files: Caffe's own, ours as Caffe would read them, those of older and other programs, and damaged ones."""

import struct
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from netspec import Net, SnapshotError, read_net
from netspec.schema.netspec_pb2 import BlobProto, LayerParameter, NetParameter, V0LayerParameter, V1LayerParameter
from netspec.weights import read_weights, same_shape, write_weights

TRAINING = Path(__file__).parent / "golden" / "training"
"""A whole run of Caffe itself."""


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Net:
    """The recorded test net, with the weights that Caffe stored after 100 iterations."""
    monkeypatch.setenv("NETSPEC_CACHE", str(tmp_path))
    return Net(TRAINING / "net.prototxt", weights=TRAINING / "run_iter_100.caffemodel")


# --- Caffe's own files ----------------------------------------------------------------------------------------------


def test_caffes_weights_give_caffes_scores(net: Net) -> None:
    """With the weights of a Caffe run, the scores of every test image are Caffe's, within 1e-4."""
    curve = np.load(TRAINING / "curve.npz")
    _, source = net.sources[0]
    with torch.no_grad():
        scores = torch.cat([net(data=data, label=label, blobs=["ip"])["ip"] for data, label in source.once()])
    np.testing.assert_allclose(scores.numpy(), curve["scores"], atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["init.caffemodel", "run_iter_100.caffemodel"])
def test_caffes_blobs_are_read_as_protobuf_reads_them(name: str) -> None:
    """Names, shapes and numbers are those that the full schema finds."""
    whole = NetParameter.FromString((TRAINING / name).read_bytes())
    expected = {layer.name: layer.blobs for layer in whole.layer if layer.blobs}
    found = read_weights(TRAINING / name)
    assert set(found) == set(expected)
    for layer, blobs in expected.items():
        assert [array.shape for array in found[layer]] == [tuple(blob.shape.dim) for blob in blobs]
        assert all(np.array_equal(a.ravel(), np.float32(b.data)) for a, b in zip(found[layer], blobs, strict=True))


def test_our_file_is_what_caffe_reads(net: Net, tmp_path: Path) -> None:
    """A .caffemodel holds, in the whole schema, the net's name and every layer's definition with its blobs."""
    net.save(tmp_path / "net.caffemodel")
    whole = NetParameter.FromString((tmp_path / "net.caffemodel").read_bytes())
    assert whole.IsInitialized()
    assert whole.name == "digits"
    assert [layer.name for layer in whole.layer] == [node.name for node in net.graph.nodes]
    for layer, node in zip(whole.layer, net.graph.nodes, strict=True):
        assert [tuple(blob.shape.dim) for blob in layer.blobs] == [
            tuple(b.shape) for b in net.layer_params.get(layer.name, [])
        ]
        layer.ClearField("blobs")
        assert layer == node.param


def test_our_file_holds_caffes_numbers(net: Net, tmp_path: Path) -> None:
    """Read from Caffe and written again, every blob is the same to the bit."""
    net.save(tmp_path / "net.caffemodel")
    ours, theirs = read_weights(tmp_path / "net.caffemodel"), read_weights(TRAINING / "run_iter_100.caffemodel")
    assert set(ours) == set(theirs)
    assert all(a.tobytes() == b.tobytes() for name in ours for a, b in zip(ours[name], theirs[name], strict=True))


def test_a_net_can_be_built_from_a_weights_file_alone(net: Net, tmp_path: Path) -> None:
    """The layer definitions in a .caffemodel are those of a net that runs."""
    net.save(tmp_path / "net.caffemodel")
    definitions = NetParameter.FromString((tmp_path / "net.caffemodel").read_bytes())
    shapes = {"data": (1, *net.blob_shapes["data"][1:]), "label": (1,)}
    alone = Net(definitions, weights=tmp_path / "net.caffemodel", shapes=shapes)
    data = torch.randn(shapes["data"])
    with torch.no_grad():
        assert torch.equal(alone(data=data, blobs=["ip"])["ip"], net(data=data, blobs=["ip"])["ip"])


# --- round trips ----------------------------------------------------------------------------------------------------

floats = st.floats(width=32, allow_nan=False)
shapes = arrays.array_shapes(min_dims=0, max_dims=4, min_side=1, max_side=3)
blobs = st.lists(arrays.arrays(np.float32, shapes, elements=floats), min_size=1, max_size=3)
names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(names, blobs, max_size=4), st.sampled_from(["x.caffemodel", "x.safetensors"]))
def test_round_trip(tmp_path: Path, stored: dict[str, list[np.ndarray]], file: str) -> None:
    """Blobs of any names, shapes and numbers come back as they were, to the bit."""
    write_weights(tmp_path / file, "net", [LayerParameter(name=name) for name in stored], stored)
    found = read_weights(tmp_path / file)
    assert set(found) == set(stored)
    for name, expected in stored.items():
        assert [a.shape for a in found[name]] == [a.shape for a in expected]
        assert [a.tobytes() for a in found[name]] == [a.tobytes() for a in expected]


@pytest.mark.parametrize("file", ["x.caffemodel", "x.safetensors"])
def test_more_than_ten_blobs_keep_their_order(tmp_path: Path, file: str) -> None:
    """Blob 10 comes after blob 9, also where blobs are stored by name; transposed arrays are stored as they look."""
    stored = {"a/b": [np.float32([[i, 1], [2, 3]]).T for i in range(12)]}
    write_weights(tmp_path / file, "net", [LayerParameter(name="a/b")], stored)
    np.testing.assert_array_equal(read_weights(tmp_path / file)["a/b"], stored["a/b"])


def test_the_first_of_two_layers_of_one_name_counts(tmp_path: Path) -> None:
    """A file may hold two layers of one name; as in Caffe's nets, the first is meant."""
    layers = [LayerParameter(name="ip", blobs=[BlobProto(shape={"dim": [1]}, data=[value])]) for value in (1, 2)]
    (tmp_path / "x.caffemodel").write_bytes(NetParameter(layer=layers).SerializeToString())
    assert read_weights(tmp_path / "x.caffemodel")["ip"][0] == [1]


# --- files of older and other programs ------------------------------------------------------------------------------


def varint(number: int) -> bytes:
    return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + varint(number >> 7)


def field(number: int, content: bytes) -> bytes:
    """A field of protobuf's wire format that holds bytes: a message, a text, packed numbers."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def file_with(*fields: bytes) -> bytes:
    """A .caffemodel with one layer "ip" of one blob, made of these fields."""
    return field(100, field(1, b"ip") + field(7, b"".join(fields)))


VALUES = np.float32([[1, -2, 0.5], [4, 0, 6]])
DIM = field(7, field(1, bytes(VALUES.shape)))
LEGACY_DIM = b"\x08\x01\x10\x01\x18\x02\x20\x03"  # num 1, channels 1, height 2, width 3
FLOATS = field(5, VALUES.tobytes())
BLOB = BlobProto(shape={"dim": VALUES.shape}, data=VALUES.ravel())

FORMS = {
    "packed floats": file_with(DIM, FLOATS),
    "numbers before the shape": file_with(FLOATS, DIM),
    "unpacked floats": file_with(DIM, *(b"\x2d" + struct.pack("<f", value) for value in VALUES.ravel())),
    "unpacked sizes": file_with(field(7, b"\x08\x02\x08\x03"), FLOATS),
    "doubles": file_with(DIM, field(8, VALUES.astype("<f8").tobytes())),
    "16-bit floats (NVIDIA, OpenCV)": file_with(DIM, b"\x50\x02", field(12, VALUES.astype("<f2").tobytes())),
    "raw 32-bit floats": file_with(DIM, b"\x50\x01", field(12, VALUES.tobytes())),
    "four sizes": file_with(LEGACY_DIM, FLOATS),
    "with gradients": file_with(DIM, FLOATS, field(6, VALUES.tobytes())),
    "unknown fields": field(9999, b"x") + file_with(DIM, FLOATS, field(9999, b"x")) + field(100, field(1, b"other")),
    "V1": NetParameter(layers=[V1LayerParameter(name="ip", blobs=[BLOB])]).SerializeToString(),
    "V0": NetParameter(
        layers=[V1LayerParameter(layer=V0LayerParameter(name="ip", type="conv", blobs=[BLOB]))]
    ).SerializeToString(),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms(tmp_path: Path, form: str) -> None:
    """Every form in which programs have stored blobs gives the same numbers."""
    (tmp_path / "x.caffemodel").write_bytes(FORMS[form])
    found = read_weights(tmp_path / "x.caffemodel")
    assert list(found) == ["ip"]
    assert found["ip"][0].dtype == np.float32
    assert found["ip"][0].squeeze().tolist() == VALUES.tolist()


DAMAGED = {
    "empty shape, many numbers": file_with(field(7, b""), FLOATS),
    "fewer numbers than the shape says": file_with(DIM, field(5, VALUES[:1].tobytes())),
    "more numbers than the shape says": file_with(DIM, field(5, VALUES.tobytes() * 2)),
    "numbers in two packed parts": file_with(DIM, field(5, VALUES[:1].tobytes()), field(5, VALUES[1:].tobytes())),
    "no numbers": file_with(DIM),
    "half a number": file_with(DIM, field(5, VALUES.tobytes()[:-1])),
    "doubles cut": file_with(DIM, field(8, VALUES.astype("<f8").tobytes()[:-8])),
    "16-bit floats cut": file_with(DIM, b"\x50\x02", field(12, b"\0\0")),
    "garbage": b"\xff" * 64,
    "a text": b'name: "net"\nlayer { }\n',
    "an HTML page": b"<!DOCTYPE html><html>404</html>",
    "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(32),
}


@pytest.mark.parametrize("form", DAMAGED)
def test_damaged_files(tmp_path: Path, form: str) -> None:
    """A file that is damaged or none is refused with its path, never read in part."""
    path = tmp_path / "x.caffemodel"
    path.write_bytes(DAMAGED[form])
    with pytest.raises(SnapshotError, match=r"x\.caffemodel: this is no caffemodel, or it is damaged"):
        read_weights(path)


@pytest.mark.parametrize("kept", [0, 1, 100, 4000, -1])
def test_truncated_files_do_not_load(tmp_path: Path, kept: int) -> None:
    """A file that ends too early, an empty one too, is refused by the net, which stays as it is."""
    path = tmp_path / "x.caffemodel"
    path.write_bytes((TRAINING / "run_iter_100.caffemodel").read_bytes()[:kept])
    net = Net(read_net(TRAINING / "net.prototxt"), shapes={"data": (1, 1, 16, 16), "label": (1,)})
    before = net.layer_params["ip"][0].clone()
    with pytest.raises(SnapshotError, match=r"x\.caffemodel"):
        net.load(path)
    assert torch.equal(net.layer_params["ip"][0], before)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**6), st.binary(min_size=1, max_size=4))
def test_changed_bytes(tmp_path: Path, place: int, new: bytes) -> None:
    """Whatever bytes are changed, a file is read or refused; nothing else happens."""
    content = bytearray((TRAINING / "init.caffemodel").read_bytes())
    place %= len(content)
    content[place : place + len(new)] = new
    (tmp_path / "x.caffemodel").write_bytes(content)
    try:
        read_weights(tmp_path / "x.caffemodel")
    except SnapshotError as error:
        assert "x.caffemodel" in str(error)


def bfloat16_file() -> bytes:
    header = b'{"ip/0":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}'
    return struct.pack("<Q", len(header)) + header + b"\0\0"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "this is no safetensors file, or it is damaged"),
        (b"\xff" * 64, "this is no safetensors file, or it is damaged"),
        (bfloat16_file(), "this is no safetensors file, or it is damaged .*BF16"),
        (safetensors.numpy.save({"ip.weight": VALUES}), '"ip.weight" is not of the form LAYER/0'),
    ],
)
def test_wrong_safetensors(tmp_path: Path, content: bytes, reason: str) -> None:
    """A .safetensors that is damaged, or of another program, is refused with its path."""
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(SnapshotError, match=f"x.safetensors: {reason}"):
        read_weights(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("stored", "wanted", "same"),
    [
        ((2, 3), (2, 3), True),
        ((1, 1, 2, 3), (2, 3), True),
        ((2, 3), (1, 2, 3), True),
        ((1, 1, 1, 1), (), True),
        ((2, 3, 1, 1), (2, 3), False),
        ((3, 2), (2, 3), False),
        ((1, 2, 1, 3), (2, 3), False),
    ],
)
def test_same_shape(stored: tuple[int, ...], wanted: tuple[int, ...], same: bool) -> None:
    """Shapes are the same but for ones in front."""
    assert same_shape(stored, wanted) is same
