"""Files of .caffemodel: Caffe's own, ours as Caffe would read them, those of older and other programs, damaged ones."""

import re
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netspec import Net, SnapshotError, read_net
from netspec.schema.netspec_pb2 import BlobProto, LayerParameter, NetParameter, V0LayerParameter, V1LayerParameter
from netspec.weights import read_weights

TRAINING = Path(__file__).parents[1] / "golden" / "training"
"""A whole run of Caffe itself."""


# --- Caffe's own files ----------------------------------------------------------------------------------------------


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
    "floats in two packed parts": file_with(DIM, field(5, VALUES[:1].tobytes()), field(5, VALUES[1:].tobytes())),
    "floats packed and unpacked": file_with(
        *(b"\x2d" + struct.pack("<f", value) for value in VALUES[0]), field(5, VALUES[1:].tobytes()), DIM
    ),
    "doubles": file_with(DIM, field(8, VALUES.astype("<f8").tobytes())),
    "16-bit floats (NVIDIA, OpenCV)": file_with(DIM, b"\x50\x02", field(12, VALUES.astype("<f2").tobytes())),
    "raw 32-bit floats": file_with(DIM, b"\x50\x01", field(12, VALUES.tobytes())),
    "raw doubles": file_with(DIM, b"\x50\x00", field(12, VALUES.astype("<f8").tobytes())),
    "raw numbers without a type, which are doubles": file_with(DIM, field(12, VALUES.astype("<f8").tobytes())),
    "unpacked doubles": file_with(DIM, *(b"\x41" + struct.pack("<d", value) for value in VALUES.ravel())),
    "a shape of ones in front": file_with(field(7, field(1, bytes((1, 1, *VALUES.shape)))), FLOATS),
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


def test_raw_integers(tmp_path: Path) -> None:
    """NVIDIA's raw data may be integers, signed or not."""
    for kind, dtype in ((3, "<i4"), (4, "<u4")):
        content = np.array([0, 7, 2**31 - 1], dtype).tobytes()
        (tmp_path / "x.caffemodel").write_bytes(
            file_with(field(7, field(1, b"\3")), bytes([0x50, kind]), field(12, content))
        )
        assert read_weights(tmp_path / "x.caffemodel")["ip"][0].tolist() == [0, 7, 2**31]


@pytest.mark.parametrize(
    ("content", "shape"), [((), (0,)), ((FLOATS,), (6,)), ((field(7, b""), field(5, VALUES[0, :1].tobytes())), ())]
)
def test_blobs_without_a_shape(tmp_path: Path, content: tuple[bytes, ...], shape: tuple[int, ...]) -> None:
    """A blob that states no size has one axis, of as many numbers as there are; an empty shape is a single number."""
    (tmp_path / "x.caffemodel").write_bytes(file_with(*content))
    assert read_weights(tmp_path / "x.caffemodel")["ip"][0].shape == shape


def test_the_last_of_two_layers_of_one_name_counts(tmp_path: Path) -> None:
    """A file may hold two layers of one name: Caffe copies both in turn; one without blobs changes nothing."""
    layers = [LayerParameter(name="ip", blobs=[BlobProto(shape={"dim": [1]}, data=[value])]) for value in (1, 2)]
    layers.append(LayerParameter(name="ip"))
    (tmp_path / "x.caffemodel").write_bytes(NetParameter(layer=layers).SerializeToString())
    assert read_weights(tmp_path / "x.caffemodel")["ip"] == [[2]]


BLOBS = {
    "empty shape, many numbers": (file_with(field(7, b""), FLOATS), "has 6 of 1 numbers"),
    "fewer numbers than the shape says": (file_with(DIM, field(5, VALUES[:1].tobytes())), "has 3 of 6 numbers"),
    "more numbers than the shape says": (file_with(DIM, field(5, VALUES.tobytes() * 2)), "has 12 of 6 numbers"),
    "the numbers twice": (file_with(DIM, FLOATS, FLOATS), "has 12 of 6 numbers"),
    "no numbers": (file_with(DIM), "has 0 of 6 numbers"),
    "four sizes, no numbers": (file_with(LEGACY_DIM), "has 0 of 6 numbers"),
    "half a number": (file_with(DIM, field(5, VALUES.tobytes()[:-1])), "ends inside a number"),
    "doubles cut": (file_with(DIM, field(8, VALUES.astype("<f8").tobytes()[:-8])), "has 5 of 6 numbers"),
    "16-bit floats cut": (file_with(DIM, b"\x50\x02", field(12, b"\0\0")), "has 1 of 6 numbers"),
    "half a 16-bit float": (file_with(DIM, b"\x50\x02", field(12, b"\0")), "ends inside a number"),
    "an unknown raw type": (file_with(DIM, b"\x50\x05", field(12, b"\0" * 24)), "has numbers of the unknown type 5"),
    "a huge shape": (
        file_with(field(7, field(1, b"\xff\xff\xff\xff\x07" * 2)), FLOATS),
        "has 6 of 4611686014132420609",
    ),
    "negative sizes": (
        file_with(field(7, field(1, varint(2**64 - 2) + varint(2**64 - 3))), FLOATS),
        "has the shape (-2",
    ),
    "33 axes": (file_with(field(7, field(1, b"\1" * 32 + b"\6")), FLOATS), "has the shape (1, 1"),
    "a part that is none": (file_with(DIM, b"\x2a\x7f"), "cannot be read"),
}


@pytest.mark.parametrize("form", BLOBS)
def test_damaged_blobs(tmp_path: Path, form: str) -> None:
    """A blob whose numbers are not those of its shape is refused with file, layer and index."""
    content, reason = BLOBS[form]
    (tmp_path / "x.caffemodel").write_bytes(content)
    with pytest.raises(SnapshotError, match=rf'x\.caffemodel: damaged: blob 0 of layer "ip" {re.escape(reason)}'):
        read_weights(tmp_path / "x.caffemodel")


DAMAGED = {
    "empty": b"",
    "no layer": field(1, b"net"),
    "garbage": b"\xff" * 64,
    "a text": b'name: "net"\nlayer { }\n',
    "an HTML page": b"<!DOCTYPE html><html>404</html>",
    "a layer that is none": field(100, b"\xff"),
    "a name that is no text": field(100, field(1, b"\xff\xfe")),
    "an array of NumPy's": b"\x93NUMPY\x01\x00" + bytes(32),
}


@pytest.mark.parametrize("form", DAMAGED)
def test_files_that_are_none(tmp_path: Path, form: str) -> None:
    """A file that is damaged or none is refused with its path, never read in part."""
    (tmp_path / "x.caffemodel").write_bytes(DAMAGED[form])
    with pytest.raises(SnapshotError, match=r"x\.caffemodel: this is no caffemodel, or it is damaged"):
        read_weights(tmp_path / "x.caffemodel")


def test_truncated_anywhere(tmp_path: Path) -> None:
    """A file that ends too early, wherever that is inside a layer, is refused."""
    whole = (TRAINING / "run_iter_100.caffemodel").read_bytes()
    file = NetParameter.FromString(whole)
    kept = [NetParameter(name=file.name, layer=file.layer[:count]).ByteSize() for count in range(len(file.layer) + 1)]
    for size in {*range(0, len(whole), 29)} - {*kept}:
        (tmp_path / "x.caffemodel").write_bytes(whole[:size])
        with pytest.raises(SnapshotError, match=r"x\.caffemodel"):
            read_weights(tmp_path / "x.caffemodel")


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


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
