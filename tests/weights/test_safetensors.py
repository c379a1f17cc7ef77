"""Files of .safetensors that are not ours."""

import struct
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from netspec import SnapshotError
from netspec.weights import read_weights


def bfloat16_file() -> bytes:
    header = b'{"ip/0":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}'
    return struct.pack("<Q", len(header)) + header + b"\0\0"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "this is no safetensors file, or it is damaged"),
        (b"\xff" * 64, "this is no safetensors file, or it is damaged"),
        (bfloat16_file(), "this is no safetensors file, or it is damaged .*BF16"),
        (safetensors.numpy.save({"ip.weight": np.zeros(3)}), '"ip.weight" is not of the form LAYER/0'),
        (safetensors.numpy.save({"ip/01": np.zeros(3)}), '"ip/01" is not of the form LAYER/0'),
        (safetensors.numpy.save({"ip/99999999999": np.zeros(3)}), '"ip/99999999999" is not of the form LAYER/0'),
    ],
)
def test_wrong_safetensors(tmp_path: Path, content: bytes, reason: str) -> None:
    """A .safetensors that is damaged, or of another program, is refused with its path."""
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(SnapshotError, match=f"x.safetensors: {reason}"):
        read_weights(tmp_path / "x.safetensors")


def test_truncated_anywhere(tmp_path: Path) -> None:
    """A file that ends too early is refused wherever that is."""
    whole = safetensors.numpy.save({"ip/0": np.zeros((2, 3), np.float32)})
    for size in range(len(whole)):
        (tmp_path / "x.safetensors").write_bytes(whole[:size])
        with pytest.raises(SnapshotError, match=r"x\.safetensors"):
            read_weights(tmp_path / "x.safetensors")


@pytest.mark.parametrize("dtype", ["float16", "float64", "int32", "uint8"])
def test_numbers_of_other_types(tmp_path: Path, dtype: str) -> None:
    """Whatever type numbers have in the file, they come as float32."""
    (tmp_path / "x.safetensors").write_bytes(safetensors.numpy.save({"ip/0": np.array([0, 1, 200], dtype)}))
    (array,) = read_weights(tmp_path / "x.safetensors")["ip"]
    assert (array.dtype, array.tolist()) == (np.float32, [0, 1, 200])


def test_a_header_that_begins_as_a_pickle(tmp_path: Path) -> None:
    """A file may begin with the size 640, whose bytes are those of a pickle."""
    sizes = {}
    for length in range(1, 600):
        content = safetensors.numpy.save({"a" * length + "/0": np.zeros(1, np.float32)})
        sizes.setdefault(content[:2], content)
    (tmp_path / "x.safetensors").write_bytes(sizes[b"\x80\x02"])
    assert len(read_weights(tmp_path / "x.safetensors")) == 1
