"""tools/upgrade.py writes files in today's form."""

import subprocess
import sys
from pathlib import Path

import pytest

from netspec import parse_net, parse_solver, read_net
from netspec.schema.netspec_pb2 import BlobProto, NetParameter

ROOT = Path(__file__).parents[2]
OLD = ROOT / "tests/upgrade"


def upgrade(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """What the tool prints and how it ends."""
    command = [sys.executable, ROOT / "tools/upgrade.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


def test_a_net_to_the_screen() -> None:
    """Without --out a text is printed, and what it was is said beside it."""
    path = OLD / "v1_cifar_deploy.old.prototxt"
    done = upgrade(path)
    assert parse_net(done.stdout) == read_net(path)
    assert done.stderr == f"{path}: upgraded from V1 layers, input fields\n"


def test_a_solver_with_a_variable_to_a_file(tmp_path: Path) -> None:
    """A solver is known by its fields, whatever its file is called; its variables are filled in."""
    old, new = tmp_path / "solver.prototxt", tmp_path / "new.prototxt"
    old.write_text("solver_type: ADAM max_iter: $N")
    done = upgrade(old, "--out", new, "--define", "N=3")
    assert (done.returncode, done.stdout) == (0, "")
    assert parse_solver(new.read_text()) == parse_solver('type: "Adam" max_iter: 3')


def test_weights(tmp_path: Path) -> None:
    """A .caffemodel gets today's layers and shapes; its numbers and what forks added to its blobs stay."""
    blob = BlobProto(num=1, channels=1, height=2, width=3, data=range(6))
    blob.MergeFromString(b"\x50\x02")  # field 10, which Caffe's own blobs lack
    path, new = tmp_path / "old.caffemodel", tmp_path / "new.caffemodel"
    path.write_bytes(
        NetParameter(layers=[{"name": "ip", "type": "INNER_PRODUCT", "blobs": [blob]}]).SerializeToString()
    )
    done = upgrade(path, "--out", new)
    assert done.stderr == f"{path}: upgraded from V1 layers, four-number shapes\n"
    layer = NetParameter.FromString(new.read_bytes()).layer[0]
    assert (layer.name, layer.type, list(layer.blobs[0].shape.dim)) == ("ip", "InnerProduct", [1, 1, 2, 3])
    assert list(layer.blobs[0].data) == list(range(6))
    assert b"\x50\x02" in layer.blobs[0].SerializeToString()
    assert upgrade(new, "--out", new).stderr == f"{new}: in the form of today already\n"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("net.prototxt", b"layer { } layers { }", 'a net has "layer" or the older "layers", not both'),
        ("run.solver", b"base_lr: 1 {", "is never closed"),
        ("none.caffemodel", b"\xff\xff", "this is no caffemodel"),
    ],
)
def test_what_is_wrong_is_said(name: str, content: bytes, reason: str, tmp_path: Path) -> None:
    """A file that is wrong ends the tool with a message, and nothing is written."""
    (tmp_path / name).write_bytes(content)
    done = upgrade(tmp_path / name, "--out", tmp_path / "out")
    assert done.returncode == 1
    assert reason in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_weights_need_a_file() -> None:
    """Weights are not printed."""
    assert "--out FILE" in upgrade("x.caffemodel").stderr
