"""The reference page says of every layer type what there is to know."""

import subprocess
import sys
from pathlib import Path

import pytest

from netspec.layers import LAYER_TYPES
from netspec.reference import entry, layer_types, page
from netspec.schema.comments import comments
from netspec.schema.netspec_pb2 import DESCRIPTOR, LayerParameter

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "netspec" / "layers" / "README.md"


def test_page_is_up_to_date():
    """The committed page is what `python tools/layers.py` prints."""
    # In a process of its own: here other tests may have made layer types of theirs.
    command = [sys.executable, str(ROOT / "tools" / "layers.py")]
    assert PAGE.read_text() == subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("name", sorted(LAYER_TYPES))
def test_every_type_states_its_rule(name):
    """A layer type's entry has a sentence of its own, not that of a class it stands on."""
    docstring = LAYER_TYPES[name].build.__dict__.get("__doc__")
    assert docstring and len(docstring) > 10
    assert f"## {name}\n" in entry(name)


def test_every_message_of_a_layer_is_in_the_page():
    """Each field of a layer that only some types read stands under at least one of them."""
    general = {"param", "blobs", "include", "exclude"}
    fields = {field.name for field in LayerParameter.DESCRIPTOR.fields if field.message_type is not None} - general
    assert {name for name in fields if f"| `{name}` |" not in page()} == set()


def test_comments_are_those_of_the_schema():
    """Every field of every message has its comment, on one line; nested enums too."""
    for message in DESCRIPTOR.message_types_by_name.values():
        for field in message.fields:
            assert comments()[f"{message.name}.{field.name}"], field.full_name
    assert comments()["PoolingParameter.RoundMode.FLOOR"] == "Down: no window hangs over."
    assert comments()["Phase.TEST"]


def test_an_entry():
    """An entry shows the rule, the counts, and each field with its values and default."""
    lines = entry("Pooling").splitlines()
    assert "Bottoms: 1. Tops: 1 to 2." in lines
    assert any(line.startswith("| `pool` | MAX, AVE, STOCHASTIC; MAX |") for line in lines)
    assert any(line.startswith("| `stride` | int; 1 |") for line in lines)
    assert {"Convolution", "Input", "Data", "BN"} <= set(layer_types())
