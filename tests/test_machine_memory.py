"""What a machine remembers from run to run."""

import json
from pathlib import Path

import pytest

from netspec.machine_memory import MOST_ENTRIES, MachineMemory, layer_text
from netspec.schema.netspec_pb2 import LayerParameter


def opened(folder: Path, environment: str = "here") -> MachineMemory[int]:
    """The memory of these tests, which holds numbers."""
    return MachineMemory(folder, "numbers", environment, lambda entry: isinstance(entry, int))


def test_what_is_written_is_there_in_the_next_run(tmp_path: Path) -> None:
    """An entry is back when the file is opened again, and only in the environment that it was found in."""
    memory = opened(tmp_path / "deep" / "cache")
    memory.put("a", 1)
    memory.write()
    assert opened(tmp_path / "deep" / "cache").get("a") == 1
    assert opened(tmp_path / "deep" / "cache", "elsewhere").get("a") is None


def test_nothing_new_writes_nothing(tmp_path: Path) -> None:
    """Without a new entry no file appears."""
    opened(tmp_path).write()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"{", b"[1, 2]", b'{"a": "1"}', b"\xff\xfe"])
def test_a_damaged_file_counts_as_none(tmp_path: Path, content: bytes) -> None:
    """What is no whole entry was never found out, and the file is whole again after the next write."""
    memory = opened(tmp_path)
    memory.put("b", 2)
    memory.write()
    (file,) = tmp_path.iterdir()
    file.write_bytes(content)
    memory = opened(tmp_path)
    assert memory.get("a") is memory.get("b") is None
    memory.put("c", 3)
    memory.write()
    assert json.loads(file.read_bytes()) == {"c": 3}


def test_a_folder_that_cannot_be_written_costs_nothing_but_the_memory(tmp_path: Path) -> None:
    """Where no file can be, the entry holds for this process."""
    (tmp_path / "file").write_text("")
    memory = opened(tmp_path / "file" / "cache")
    memory.put("a", 1)
    memory.write()
    assert memory.get("a") == 1


def test_old_entries_are_forgotten(tmp_path: Path) -> None:
    """A file does not grow for ever: beyond the limit its older half goes."""
    memory = opened(tmp_path)
    for number in range(MOST_ENTRIES + 1):
        memory.put(str(number), number)
    memory.write()
    assert opened(tmp_path).get("0") is None
    assert opened(tmp_path).get(str(MOST_ENTRIES)) == MOST_ENTRIES


def test_the_text_of_a_layer_has_no_names() -> None:
    """Two layers that differ in their names and blobs have one text; in what they compute, two."""
    one = LayerParameter(name="a", type="ReLU", bottom=["x"], top=["y"])
    other = LayerParameter(name="b", type="ReLU", bottom=["y"], top=["z"], loss_weight=[2.0])
    assert layer_text(one) == layer_text(other)
    other.relu_param.negative_slope = 0.5
    assert layer_text(one) != layer_text(other)
