"""What holds for weights files of every format."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from google.protobuf import text_format
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from netspec import Net, SnapshotError
from netspec.schema.netspec_pb2 import LayerParameter, NetParameter
from netspec.weights import file_names, read_weights, same_shape, write_weights

FILES = ["x.caffemodel", "x.caffemodel.h5", "x.safetensors"]

RECORDINGS = Path(__file__).parents[1] / "golden" / "layers"

bits = st.integers(0, 2**32 - 1)
shapes = arrays.array_shapes(min_dims=0, max_dims=4, min_side=1, max_side=3)
blobs = st.lists(arrays.arrays(np.uint32, shapes, elements=bits), min_size=1, max_size=3)
names = st.text(st.characters(codec="utf-8", exclude_characters="\0/."), min_size=1, max_size=8)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(names, blobs, min_size=1, max_size=4), st.sampled_from(FILES))
def test_round_trip(tmp_path: Path, drawn: dict[str, list[np.ndarray]], file: str) -> None:
    """Blobs of any names, shapes and bits (NaN with a payload, denormals) come back as they were."""
    stored = {name: [array.view(np.float32) for array in arrays] for name, arrays in drawn.items()}
    write_weights(tmp_path / file, "net", [LayerParameter(name=name) for name in stored], stored)
    found = read_weights(tmp_path / file)
    assert set(found) == set(stored)
    for name, expected in stored.items():
        assert [a.shape for a in found[name]] == [a.shape for a in expected]
        assert [a.tobytes() for a in found[name]] == [a.tobytes() for a in expected]


@pytest.mark.parametrize("file", FILES)
def test_more_than_ten_blobs_keep_their_order(tmp_path: Path, file: str) -> None:
    """Blob 10 comes after blob 9, also where blobs are stored by name; transposed arrays are stored as they look."""
    stored = {"a/b": [np.float32([[i, 1], [2, 3]]).T for i in range(12)]}
    write_weights(tmp_path / file, "net", [LayerParameter(name="a/b")], stored)
    np.testing.assert_array_equal(read_weights(tmp_path / file)["a/b"], stored["a/b"])


# --- through a net ---------------------------------------------------------------------------------------------------

OF_FORKS = {
    "BN": "",
    "BN of SegNet": "bn_param { scale_filler { } }",
    "Normalize": "norm_param { channel_shared: false }",
    "BatchNorm": "batch_norm_param { scale_bias: true }",
    "DepthwiseConvolution": "convolution_param { num_output: 4 kernel_size: 1 }",
}


def recorded_nets() -> dict[str, NetParameter]:
    """Every recorded layer with blobs, as a net with an Input for each of its bottoms."""
    nets = {}
    for path in sorted(RECORDINGS.glob("*.npz")):
        recording = np.load(path)
        for case in dict.fromkeys(key.split("/")[0] for key in recording.files):
            if f"{case}/blob/0" in recording.files:
                net = text_format.Parse(str(recording[f"{case}/prototxt"]), NetParameter())
                shapes = [recording[f"{case}/bottom/{name}"].shape for name in net.layer[0].bottom]
                nets[f"{path.stem}-{case}"] = with_inputs(net.layer[0], shapes)
    return nets


def with_inputs(layer: LayerParameter, shapes: list[tuple[int, ...]]) -> NetParameter:
    net = NetParameter()
    for name, shape in zip(layer.bottom, shapes, strict=True):
        net.layer.add(name=name, type="Input", top=[name], input_param={"shape": [{"dim": shape}]})
    net.layer.append(layer)
    return net


NETS = recorded_nets() | {
    name: with_inputs(
        text_format.Parse(f'name: "l" type: "{name.split()[0]}" bottom: "x" top: "y" {param}', LayerParameter()),
        [(2, 4, 3, 3)],
    )
    for name, param in OF_FORKS.items()
}


@pytest.mark.parametrize("name", NETS)
def test_every_layer_type_keeps_every_bit(tmp_path: Path, name: str) -> None:
    """From a file into a net and out again, the blobs of each layer type are the same to the bit in every format."""
    net, other = Net(NETS[name]), Net(NETS[name])
    generator = np.random.default_rng(3)
    with torch.no_grad():
        for blob in (blob for blobs in net.layer_params.values() for blob in blobs):
            bits = generator.integers(0, 2**32, blob.shape, np.uint32)
            blob.copy_(torch.from_numpy(bits.view(np.float32)))
    for file in FILES:
        first, second = tmp_path / file, tmp_path / f"again_{file}"
        net.save(first)
        other.load(first, whole=True)
        other.save(second)
        assert first.read_bytes() == second.read_bytes()
        for layer, blobs in read_weights(second).items():
            expected = [blob.detach().numpy() for blob in net.layer_params[layer]]
            assert [(a.shape, a.tobytes()) for a in blobs] == [(a.shape, a.tobytes()) for a in expected]


@pytest.mark.parametrize("file", FILES)
def test_saving_twice_gives_the_same_bytes(net: Net, tmp_path: Path, file: str) -> None:
    """A file depends on the net alone; what `save` returns is its SHA-256."""
    assert net.save(tmp_path / file) == net.save(tmp_path / f"again_{file}")
    assert (tmp_path / file).read_bytes() == (tmp_path / f"again_{file}").read_bytes()


# --- which file ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x", "x.pth", "x.caffemodel.h6", "x.solverstate"])
def test_a_suffix_chooses_the_format(net: Net, tmp_path: Path, name: str) -> None:
    """A suffix of no format is refused with those that there are, and nothing is written."""
    before = sorted(tmp_path.iterdir())
    with pytest.raises(SnapshotError, match=r'the suffix ".*" is none of .caffemodel, .caffemodel.h5 and .safetensors'):
        net.save(tmp_path / name)
    assert sorted(tmp_path.iterdir()) == before


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.path), "w")


@pytest.mark.parametrize("file", ["x.pth", "x.caffemodel", "x.safetensors", "x.h5"])
@pytest.mark.parametrize("writer", ["torch", "old torch", "pickle"])
def test_pickles_are_not_opened(tmp_path: Path, file: str, writer: str) -> None:
    """What torch.save and pickle wrote is refused whatever its name, without running what is in it."""
    bomb = {"weight": Bomb(tmp_path / "exploded")}
    if writer == "pickle":
        (tmp_path / file).write_bytes(pickle.dumps(bomb))
    else:
        torch.save(bomb, tmp_path / file, _use_new_zipfile_serialization=writer == "torch")
    with pytest.raises(
        SnapshotError, match=rf"{file}: a pickle or zip archive.* not opened: store it as \.safetensors"
    ):
        read_weights(tmp_path / file)
    assert not (tmp_path / "exploded").exists()


def test_names_of_files() -> None:
    """Commas part the files in a text; a path is one file; a text without any is refused."""
    assert file_names("a.caffemodel, b/c d.h5,") == ["a.caffemodel", "b/c d.h5"]
    assert file_names(Path("a,b.caffemodel")) == ["a,b.caffemodel"]
    with pytest.raises(SnapshotError, match='" , " names no weights file'):
        file_names(" , ")


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
